import { compareSchemas } from './compare-schemas';

const NAMES = { base: 'neondb', changed: 'neondb' };

it('equal schemas have no difference', () => {
  expect(compareSchemas('create table t ();\n', 'create table t ();\n', NAMES)).toEqual({ diff: '' });
});

it('a difference is unified, headed by the two names, with three lines around', () => {
  const base =
    'CREATE TABLE public.a (\n    id integer NOT NULL,\n    name text NOT NULL,\n    value real\n);\n';
  const changed = base.replace('value real', 'value real,\n    made date');
  expect(compareSchemas(base, changed, NAMES).diff).toBe(
    [
      '--- a/neondb',
      '+++ b/neondb',
      '@@ -1,5 +1,6 @@',
      ' CREATE TABLE public.a (',
      '     id integer NOT NULL,',
      '     name text NOT NULL,',
      '-    value real',
      '+    value real,',
      '+    made date',
      ' );',
      '',
    ].join('\n'),
  );
});

it('what is too large to compare is refused with a code', () => {
  const base = 'x'.repeat(40 * 1024 * 1024);
  expect(() => compareSchemas(base, `${base}y`, NAMES)).toThrow(
    expect.objectContaining({ code: 'schemas-too-different' }),
  );
});
