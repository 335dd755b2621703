import { givesNone } from './huge-pages';

describe('huge pages', () => {
  it('are asked of a kernel that gives none, and left to one that is set to something', () => {
    expect(givesNone('always within_size advise [never] deny force\n')).toBe(true);
    for (const setting of [
      '[always] within_size advise never deny force',
      'always within_size [advise] never deny force',
      'always within_size advise never [deny] force',
    ])
      expect(givesNone(setting)).toBe(false);
  });
});
