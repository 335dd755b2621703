/**
 * The order in which SLRU pages age: circular like the ids on them. `CLOGPagePrecedes` (src/backend/access/transam/clog.c),
 * `MultiXactOffsetPagePrecedes` (multixact.c), `SlruMayDeleteSegment` (slru.c).
 */
import { SLRU_PAGES_PER_SEGMENT, Slru } from '@coppice/vocabulary';
import type { SlruNumber } from '@coppice/vocabulary';
import { MULTIXACT_OFFSETS_PER_PAGE, XACTS_PER_PAGE } from '../redo/slru-layout';
import { FIRST_MULTIXACT, FIRST_NORMAL_XID, multixactPrecedes, xidPrecedes } from './transaction-id';

/** How the pages of an SLRU with circular ids compare; members have no such order. */
const orders = {
  [Slru.xact]: { perPage: XACTS_PER_PAGE, first: FIRST_NORMAL_XID, precedes: xidPrecedes },
  [Slru.multixactOffsets]: {
    perPage: MULTIXACT_OFFSETS_PER_PAGE,
    first: FIRST_MULTIXACT,
    precedes: multixactPrecedes,
  },
};
export type CircularSlru = keyof typeof orders;

export function isCircular(slru: SlruNumber): slru is CircularSlru {
  return slru in orders;
}

/** Whether every id on page `a` is older than every id on page `b`. */
export function slruPagePrecedes(slru: CircularSlru, a: number, b: number): boolean {
  const { perPage, first, precedes } = orders[slru];
  const idOfA = (a * perPage + first + 1) >>> 0;
  const idOfB = (b * perPage + first + 1) >>> 0;
  return precedes(idOfA, idOfB) && precedes(idOfA, (idOfB + perPage - 1) >>> 0);
}

/** Whether all of a segment is older than the page at the cutoff, so that truncation removes it. */
export function slruSegmentPrecedes(slru: CircularSlru, segment: number, cutoffPage: number): boolean {
  const firstPage = segment * SLRU_PAGES_PER_SEGMENT;
  return (
    slruPagePrecedes(slru, firstPage, cutoffPage) &&
    slruPagePrecedes(slru, firstPage + SLRU_PAGES_PER_SEGMENT - 1, cutoffPage)
  );
}
