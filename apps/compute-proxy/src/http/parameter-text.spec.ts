import fc from 'fast-check';
import { parse } from 'postgres-array';
import { MAX_DEPTH, parameterText } from './parameter-text';

// Not among what the package offers, but what its clients' values go through.
const { prepareValue } = jest.requireActual<{ prepareValue: (value: unknown) => string | null }>(
  'pg/lib/utils',
);

const text = (value: unknown): string | null => parameterText(value, 'params[0]');

it.each([
  [null, null],
  ['as it is, "quoted" or not', 'as it is, "quoted" or not'],
  [true, 'true'],
  [42, '42'],
  [1e300, '1e+300'],
  [{ a: [1, null] }, '{"a":[1,null]}'],
  [[true, null, 'NULL', 42, 'bar"-\\'], '{true,NULL,"NULL",42,"bar\\"-\\\\"}'],
  [
    [
      [1, 2],
      [3, null],
    ],
    '{{1,2},{3,NULL}}',
  ],
  [[{ foo: 1 }], '{"{\\"foo\\":1}"}'],
  [[], '{}'],
])('%j is sent as %s', (value, expected) => expect(text(value)).toBe(expected));

it('strings in arrays come back as they were', () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.string({ unit: 'binary' }))), (strings) => {
      expect(parse(text(strings)!, (element: string) => element)).toEqual(strings);
    }),
  );
});

it('means what node-postgres means by the same value', () => {
  const leaf = fc.oneof(fc.string(), fc.boolean(), fc.integer(), fc.constant(null));
  fc.assert(
    fc.property(fc.oneof(leaf, fc.array(leaf), fc.dictionary(fc.string(), leaf)), (value) => {
      const theirs = prepareValue(value);
      if (!Array.isArray(value)) return expect(text(value)).toBe(theirs);
      // They quote every element but NULL.
      expect(parse(text(value)!, (element: string) => element)).toEqual(
        parse(theirs!, (element: string) => element),
      );
    }),
  );
});

it('an integer that JSON does not carry is refused, not changed', () => {
  for (const json of ['9007199254740993', '[1,[9007199254740993]]', '{"a":-9007199254740993}'])
    expect(() => text(JSON.parse(json))).toThrow('params[0] holds an integer beyond 2^53');
});

it('what is nested without end is refused', () => {
  const nested = (depth: number): unknown => JSON.parse('['.repeat(depth) + ']'.repeat(depth));
  expect(text(nested(MAX_DEPTH))).toHaveLength(2 * MAX_DEPTH);
  expect(() => text(nested(100_000))).toThrow('deeper than 128 levels');
});
