import { routeOf, splitPassword } from './route';

describe('a connection names its endpoint', () => {
  it('by the first label of the server name', () => {
    expect(routeOf('ep-cool-fox-1.db.example', undefined)).toEqual({
      endpoint: 'ep-cool-fox-1',
      pooled: false,
      options: undefined,
      when: undefined,
      readOnly: false,
    });
  });
  it('by options, which keep what is meant for Postgres', () => {
    expect(routeOf('localhost', '-c work_mem=1MB endpoint=ep-a-b-c')).toMatchObject({
      endpoint: 'ep-a-b-c',
      pooled: false,
      options: '-c work_mem=1MB',
    });
  });
  it('with the password otherwise', () => {
    expect(routeOf(undefined, undefined).endpoint).toBeUndefined();
    expect(splitPassword('endpoint=ep-a-b-c;p;$w')).toEqual({
      endpoint: 'ep-a-b-c',
      pooled: false,
      password: 'p;$w',
    });
    expect(splitPassword('endpoint=ep-a-b-c$pw')).toMatchObject({ endpoint: 'ep-a-b-c', password: 'pw' });
  });
  it('and whether it is to be pooled', () => {
    const pooled = { endpoint: 'ep-a-b-c', pooled: true };
    expect(routeOf('ep-a-b-c-pooler.db.example', undefined)).toMatchObject(pooled);
    expect(routeOf(undefined, 'endpoint=ep-a-b-c-pooler')).toMatchObject(pooled);
    expect(routeOf('ep-a-b-c-pooler.db.example', 'endpoint=ep-a-b-c')).toMatchObject(pooled);
    expect(splitPassword('endpoint=ep-a-b-c-pooler;pw')).toEqual({ ...pooled, password: 'pw' });
    expect(routeOf(undefined, 'endpoint=ep-pooler-x')).toMatchObject({ pooled: false });
  });
  it('and is refused when it names two, none, or nonsense', () => {
    expect(() => routeOf('ep-a-b-c.example', 'endpoint=ep-x-y-z')).toThrow('Inconsistent project name');
    expect(() => splitPassword('secret')).toThrow('does not name an endpoint');
    expect(() => routeOf(undefined, `endpoint=${'a'.repeat(99)}`)).toThrow('99 characters');
  });
});
