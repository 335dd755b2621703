/** Types of PostgreSQL by their oids, which never change (src/include/catalog/pg_type.dat). */
export const Type = {
  bool: 16,
  int2: 21,
  int4: 23,
  text: 25,
  json: 114,
  box: 603,
  float4: 700,
  float8: 701,
  jsonb: 3802,
} as const;

export interface ElementType {
  readonly typeId: number;
  readonly delimiter: string;
}

const of = (typeId: number, delimiter = ','): ElementType => ({ typeId, delimiter });
/** Elements that are shown as a string in any case. */
const TEXT = of(Type.text);

/** Array types of which elements are not shown as strings, or not parted by commas. */
const TELLING: readonly (readonly [number, ElementType])[] = [
  [199, of(Type.json)],
  [1000, of(Type.bool)],
  [1005, of(Type.int2)],
  [1007, of(Type.int4)],
  [1020, of(Type.box, ';')],
  [1021, of(Type.float4)],
  [1022, of(Type.float8)],
  [3807, of(Type.jsonb)],
];
/** All others. int2vector and oidvector are arrays inside, but are not written as such. */
const OTHERS = [
  143, 210, 270, 271, 272, 273, 629, 651, 719, 775, 791, 1001, 1002, 1003, 1006, 1008, 1009, 1010, 1011, 1012,
  1013, 1014, 1015, 1016, 1017, 1018, 1019, 1027, 1028, 1034, 1040, 1041, 1115, 1182, 1183, 1185, 1187, 1231,
  1263, 1270, 1561, 1563, 2201, 2207, 2208, 2209, 2210, 2211, 2949, 2951, 3221, 3643, 3644, 3645, 3735, 3770,
  3905, 3907, 3909, 3911, 3913, 3927, 4073, 4090, 4097, 4192, 5039, 6150, 6151, 6152, 6153, 6155, 6157,
];
const ARRAYS: ReadonlyMap<number, ElementType> = new Map([
  ...OTHERS.map((typeId) => [typeId, TEXT] as const),
  ...TELLING,
]);

/** Of a built-in array type; `undefined` for all other types. */
export const elementTypeOf = (typeId: number): ElementType | undefined => ARRAYS.get(typeId);
