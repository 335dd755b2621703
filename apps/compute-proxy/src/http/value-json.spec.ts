import fc from 'fast-check';
import { BadValue, valueJson } from './value-json';
import { Type } from './builtin-types';

const TEXT_ARRAY = 1009;
const json = (text: string, typeId: number): unknown => JSON.parse(valueJson(text, typeId));

it.each([
  ['t', Type.bool, true],
  ['f', Type.bool, false],
  ['-32768', Type.int2, -32768],
  ['42', Type.int4, 42],
  ['42', 20, '42'],
  ['1e-07', Type.float8, 1e-7],
  ['-0', Type.float8, -0],
  ['NaN', Type.float4, 'NaN'],
  ['Infinity', Type.float8, 'Infinity'],
  ['-Infinity', Type.float8, '-Infinity'],
  ['1.10', 1700, '1.10'],
  ['{"a": [1]}', Type.jsonb, { a: [1] }],
  ['2026-01-01 00:00:00+00', 1184, '2026-01-01 00:00:00+00'],
  ['{a,b}', 999_999, '{a,b}'],
  ['{1,NULL,-3}', 1007, [1, null, -3]],
  ['{1,2}', 1016, ['1', '2']],
  [
    '[1:1][-2:-1][3:5]={{{1,2,3},{4,5,6}}}',
    1005,
    [
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
    ],
  ],
  ['{NaN,-Infinity,1.5}', 1022, ['NaN', '-Infinity', 1.5]],
  ['{t,f}', 1000, [true, false]],
  ['{"{\\"a\\": 1}",NULL}', 3807, [{ a: 1 }, null]],
  ['{(1,1),(0,0);(2,2),(1,1)}', 1020, ['(1,1),(0,0)', '(2,2),(1,1)']],
  ['{"a\\"\\\\,",cha,"NULL",NULL,""}', TEXT_ARRAY, ['a"\\,', 'cha', 'NULL', null, '']],
  ['{}', TEXT_ARRAY, []],
])('%s of type %d is %j', (text, typeId, expected) => expect(json(text, typeId)).toEqual(expected));

it.each(['', '{', '{a', '{"a', '{a}b', '{{a}', '[1:2]', '{"a"b}', '{"\\'])(
  'what is no array ends in an error: %s',
  (text) => expect(() => valueJson(text, TEXT_ARRAY)).toThrow(BadValue),
);

it('any text is either an array or an error', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'{}",\\a [=:') }), (text) => {
      try {
        expect(Array.isArray(json(text, TEXT_ARRAY))).toBe(true);
      } catch (error) {
        expect(error).toBeInstanceOf(BadValue);
      }
    }),
  );
});
