/** What a user gets wrong gets a clear answer with a stable code, and leaves no trace in the logs. */
import { leave, sharedStack, sql, type Stack } from '@coppice/testing';

jest.setTimeout(180_000);

describe('bad input', () => {
  let stack: Stack;
  let project: string;
  let branch: string;
  let uri: string;

  beforeAll(async () => {
    stack = await sharedStack();
    const made = await stack.ask('POST', '/projects', { project: { name: 'inputs' } });
    project = made.project.id;
    branch = made.branch.id;
    uri = made.connection_uris[0].connection_uri;
    await sql(uri, 'create table t (a int)');
  });
  afterAll(() => stack && leave(stack));

  it.each([
    ['an unknown project', 'GET', () => '/projects/no-such-project-1', undefined, 404, 'project-not-found'],
    [
      'an unknown branch',
      'GET',
      () => `/projects/${project}/branches/br-no-such-1`,
      undefined,
      404,
      'branch-not-found',
    ],
    [
      'an unknown endpoint',
      'POST',
      () => `/projects/${project}/endpoints/ep-no-such-1/start`,
      undefined,
      404,
      'endpoint-not-found',
    ],
    [
      'a position in the future',
      'POST',
      () => `/projects/${project}/branches`,
      { branch: { parent_lsn: 'FFFF/0' } },
      422,
      'lsn-in-future',
    ],
    [
      'a time in the future',
      'POST',
      () => `/projects/${project}/branches`,
      { branch: { parent_timestamp: '2999-01-01T00:00:00Z' } },
      422,
      'timestamp-in-future',
    ],
    [
      'a time before the first commit',
      'POST',
      () => `/projects/${project}/branches`,
      { branch: { parent_timestamp: '2001-01-01T00:00:00Z' } },
      422,
      'timestamp-before-history',
    ],
    [
      'a position that is none',
      'POST',
      () => `/projects/${project}/branches`,
      { branch: { parent_lsn: 'zero' } },
      400,
      undefined,
    ],
    ['a body that is not JSON', 'POST', () => '/projects', '{"project":', 400, undefined],
    [
      'a name that is too long',
      'POST',
      () => '/projects',
      { project: { name: 'x'.repeat(257) } },
      400,
      undefined,
    ],
    ['an unknown route', 'GET', () => '/nothing/here', undefined, 404, undefined],
  ] as [string, string, () => string, unknown, number, string | undefined][])(
    '%s is answered',
    async (_what, method, path, body, status, code) => {
      const answer = await stack.request(method, path(), body);
      expect(answer).toMatchObject({
        status,
        body: {
          code: code ?? expect.stringMatching(/^[a-z][a-z-]+$/),
          message: expect.any(String),
          request_id: expect.any(String),
        },
      });
    },
  );

  it('a missing or wrong key is refused', async () => {
    expect((await stack.request('GET', '/projects', undefined, { authorization: '' })).status).toBe(401);
    expect(
      (await stack.request('GET', '/projects', undefined, { authorization: 'Bearer cpk_wrong' })).status,
    ).toBe(401);
  });

  it('a wrong password, an unknown role and an unknown endpoint are refused at the Postgres address', async () => {
    const with_ = (change: (u: URL) => void): string => {
      const u = new URL(uri);
      change(u);
      return u.href;
    };
    await expect(
      sql(
        with_((u) => (u.password = 'wrong')),
        'select 1',
      ),
    ).rejects.toMatchObject({ code: '28P01' });
    await expect(
      sql(
        with_((u) => (u.username = 'ghost')),
        'select 1',
      ),
    ).rejects.toMatchObject({ code: '28P01' });
    await expect(sql(uri.replace(/ep-[a-z0-9-]+/g, 'ep-no-such-1'), 'select 1')).rejects.toMatchObject({
      code: '08004',
    });
  });

  it('the password of a branch opens no other branch', async () => {
    const made = await stack.ask('POST', `/projects/${project}/branches`, {
      branch: { parent_id: branch },
      endpoints: [{ type: 'read_write' }],
    });
    const child = new URL(made.connection_uris[0].connection_uri);
    const crossed = new URL(child.href);
    crossed.password = new URL(uri).password;
    await expect(sql(crossed.href, 'select 1')).rejects.toMatchObject({ code: '28P01' });
    expect(await sql(child.href, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('the default branch and a branch with children are not deleted by accident', async () => {
    expect(
      (await stack.request('DELETE', `/projects/${project}/branches/${branch}`)).status,
    ).toBeGreaterThanOrEqual(409);
  });

  it('logs nothing that someone must look at', () => {
    expect(stack.troubledLines()).toEqual([]);
  });
});
