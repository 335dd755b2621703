import { grantStatements } from './grants';
import { quoteBody } from './quoting';

const KEYWORDS = new Set(['select']);
const TABLE = { on: 'TABLE', name: 't', base: ['me=arwdDxtm/me'] };
const grant = (items: readonly string[]): string =>
  grantStatements({ ...TABLE, items }, { schema: 'app', owner: 'me' }, KEYWORDS);

it('untouched privileges need no statement', () => {
  expect(grant(TABLE.base)).toBe('');
});

it('all privileges are one word, also with the option to grant them', () => {
  expect(grant([...TABLE.base, 'you=arwdDxtm/me', '"select"=a*r*w*d*D*x*t*m*/me'])).toBe(
    'GRANT ALL ON TABLE app.t TO you;\nGRANT ALL ON TABLE app.t TO "select" WITH GRANT OPTION;\n',
  );
});

it("the owner's revoked privileges are revoked first, and others grant in their own name", () => {
  expect(grant(['me=r/me', '=r/me', '"a ""b"" = c"=r*/me', 'you=r/"a ""b"" = c"'])).toBe(
    [
      'REVOKE ALL ON TABLE app.t FROM me;',
      'GRANT SELECT ON TABLE app.t TO me;',
      'GRANT SELECT ON TABLE app.t TO PUBLIC;',
      'GRANT SELECT ON TABLE app.t TO "a ""b"" = c" WITH GRANT OPTION;',
      'SET SESSION AUTHORIZATION "a ""b"" = c";',
      'GRANT SELECT ON TABLE app.t TO you;',
      'RESET SESSION AUTHORIZATION;',
      '',
    ].join('\n'),
  );
});

it('a body is quoted by a tag that it does not hold', () => {
  expect(quoteBody('x')).toBe('$$x$$');
  expect(quoteBody('costs $1')).toBe('$_$costs $1$_$');
  expect(quoteBody('$_$ $')).toBe('$_X$$_$ $$_X$');
});
