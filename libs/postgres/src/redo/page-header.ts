/**
 * The header and line pointers that all relation pages share (src/include/storage/bufpage.h, itemid.h).
 *
 *   0      8        10    12     14     16       18          20          24
 *   ┌──────┬────────┬─────┬──────┬──────┬────────┬───────────┬───────────┬───────────────┬──────┬───────┬─────────┐
 *   │ lsn  │checksum│flags│lower │upper │special │size+layout│ prune xid │ line pointers │ hole │ items │ special │
 *   └──────┴────────┴─────┴──────┴──────┴────────┴───────────┴───────────┴───────────────┴──────┴───────┴─────────┘
 *   lsn: high word, then low word. Line pointer: offset 15 bits, flags 2, length 15, lowest first.
 *
 * Page content is written by tenants. Every access goes through the bounds checks of `Buffer` (a `RangeError`) or through
 * the checks here (a `DamagedPage`); `redoBlock` turns both into `CorruptWal`.
 */
import { BLOCK_SIZE } from '@coppice/vocabulary';
import { DamagedPage, putU16, putU32, u16, u32 } from './little-endian';

export const PAGE_HEADER_BYTES = 24;
const LAYOUT_VERSION = 4;

const Field = {
  lsnHigh: 0,
  lsnLow: 4,
  checksum: 8,
  flags: 10,
  lower: 12,
  upper: 14,
  special: 16,
  sizeAndLayout: 18,
  pruneXid: 20,
} as const;

export const PageFlag = { hasFreeLines: 1, full: 2, allVisible: 4 } as const;
export const ItemFlag = { unused: 0, normal: 1, redirect: 2, dead: 3 } as const;

/** Throws `DamagedPage` unless `holds`. For fixed texts: one with fields in it would be built on every call. */
export function must(holds: boolean, what: string): asserts holds {
  if (!holds) throw new DamagedPage(what);
}

/** Rounds up to PostgreSQL's MAXALIGN, 8. */
export function align8(size: number): number {
  return (size + 7) & ~7;
}

export function pageLsn(page: Buffer): number {
  return u32(page, Field.lsnHigh) * 2 ** 32 + u32(page, Field.lsnLow);
}
export function setPageLsn(page: Buffer, lsn: number): void {
  putU32(page, Field.lsnHigh, Math.floor(lsn / 2 ** 32));
  putU32(page, Field.lsnLow, lsn % 2 ** 32);
}
export function setPageChecksum(page: Buffer, checksum: number): void {
  putU16(page, Field.checksum, checksum);
}
export function pageFlags(page: Buffer): number {
  return u16(page, Field.flags);
}
export function setPageFlag(page: Buffer, flag: number, on: boolean): void {
  const flags = pageFlags(page);
  putU16(page, Field.flags, on ? flags | flag : flags & ~flag);
}
export function pageLower(page: Buffer): number {
  return u16(page, Field.lower);
}
export function setPageLower(page: Buffer, lower: number): void {
  putU16(page, Field.lower, lower);
}
export function pageUpper(page: Buffer): number {
  return u16(page, Field.upper);
}
export function setPageUpper(page: Buffer, upper: number): void {
  putU16(page, Field.upper, upper);
}
export function pageSpecial(page: Buffer): number {
  return u16(page, Field.special);
}
export function pagePruneXid(page: Buffer): number {
  return u32(page, Field.pruneXid);
}
export function setPagePruneXid(page: Buffer, xid: number): void {
  putU32(page, Field.pruneXid, xid);
}

/** `PageIsNew`: never initialised. */
export function pageIsNew(page: Buffer): boolean {
  return pageUpper(page) === 0;
}

/** `PageInit`: an empty page with `specialBytes` at its end. */
export function initPage(page: Buffer, specialBytes: number): void {
  const special = BLOCK_SIZE - align8(specialBytes);
  page.fill(0);
  putU16(page, Field.lower, PAGE_HEADER_BYTES);
  putU16(page, Field.upper, special);
  putU16(page, Field.special, special);
  putU16(page, Field.sizeAndLayout, BLOCK_SIZE | LAYOUT_VERSION);
}

/** `PageSetPrunable`: remembers the oldest transaction whose end may make something here prunable. */
export function setPrunable(page: Buffer, xid: number): void {
  const current = pagePruneXid(page);
  if (current === 0 || xidPrecedes(xid, current)) setPagePruneXid(page, xid);
}

const FIRST_NORMAL_XID = 3;

function xidPrecedes(a: number, b: number): boolean {
  if (a < FIRST_NORMAL_XID || b < FIRST_NORMAL_XID) return a < b;
  return ((a - b) | 0) < 0;
}

/** Fails unless the header's pointers are in order. */
export function checkPageHeader(page: Buffer): void {
  const lower = pageLower(page);
  const upper = pageUpper(page);
  const special = pageSpecial(page);
  if (
    !(
      lower >= PAGE_HEADER_BYTES &&
      lower <= upper &&
      upper <= special &&
      special <= BLOCK_SIZE &&
      special === align8(special)
    )
  )
    throw new DamagedPage(`page header says lower ${lower}, upper ${upper}, special ${special}`);
}

/** The number of line pointers, which is the highest offset number. */
export function maxOffset(page: Buffer): number {
  const lower = pageLower(page);
  return lower <= PAGE_HEADER_BYTES ? 0 : (lower - PAGE_HEADER_BYTES) >>> 2;
}

/** Where the line pointer of offset number `offnum` (1-based) stands. */
export function linePointerAt(offnum: number): number {
  return PAGE_HEADER_BYTES + (offnum - 1) * 4;
}

/** The line pointer of an offset number that exists. Take it apart with `itemOffset`, `itemFlags` and `itemLength`. */
export function linePointer(page: Buffer, offnum: number): number {
  if (!(offnum >= 1 && offnum <= maxOffset(page)))
    throw new DamagedPage(`offset number ${offnum} of ${maxOffset(page)}`);
  return u32(page, linePointerAt(offnum));
}

export function itemOffset(pointer: number): number {
  return pointer & 0x7fff;
}
export function itemFlags(pointer: number): number {
  return (pointer >>> 15) & 3;
}
export function itemLength(pointer: number): number {
  return pointer >>> 17;
}

export function setLinePointer(
  page: Buffer,
  offnum: number,
  offset: number,
  flags: number,
  length: number,
): void {
  putU32(page, linePointerAt(offnum), (offset | (flags << 15) | (length << 17)) >>> 0);
}

/** Changes where an item stands, leaving its flags and length. */
export function setItemOffset(page: Buffer, offnum: number, offset: number): void {
  const at = linePointerAt(offnum);
  putU32(page, at, ((u32(page, at) & ~0x7fff) | offset) >>> 0);
}

/** The line pointer of an offset number that has storage wholly inside the page, at least `atLeast` bytes of it. */
export function storedItem(page: Buffer, offnum: number, atLeast: number): number {
  const pointer = linePointer(page, offnum);
  const offset = itemOffset(pointer);
  const length = itemLength(pointer);
  if (!(length >= atLeast && offset >= PAGE_HEADER_BYTES && offset + length <= BLOCK_SIZE))
    throw new DamagedPage(`item ${offnum} stands at ${offset}, ${length} bytes long`);
  return pointer;
}
