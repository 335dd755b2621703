import { KeyKind, keyOf, keyPrefix } from '@coppice/vocabulary';
import type { KeyKindNumber, PageKey, SlruNumber } from '@coppice/vocabulary';

/** Keys `[from, to)`. */
export type KeyRange = readonly [from: PageKey, to: PageKey];

/** All keys of one kind. */
export function kindRange(kind: KeyKindNumber): KeyRange {
  return [
    keyOf(keyPrefix(kind, 0, 0, 0, 0), 0),
    keyOf(keyPrefix((kind + 1) as KeyKindNumber, 0, 0, 0, 0), 0),
  ];
}

/** The sizes of all relation forks of a database. */
export function relationSizesOf(place: { readonly tablespace: number; readonly database: number }): KeyRange {
  const { tablespace, database } = place;
  const from = keyOf(keyPrefix(KeyKind.relationSize, tablespace, database, 0, 0), 0);
  return [from, keyOf(keyPrefix(KeyKind.relationSize, tablespace, database, 0xffffffff, 0xff), 0xffffffff)];
}

/** The sizes of all segments of an SLRU. */
export function slruSegmentsOf(slru: SlruNumber): KeyRange {
  const prefix = keyPrefix(KeyKind.slruSegmentSize, slru, 0, 0, 0);
  return [keyOf(prefix, 0), keyOf(prefix, 0xffffffff)];
}
