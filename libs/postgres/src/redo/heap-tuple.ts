/**
 * The header of a heap row (src/include/access/htup_details.h), addressed by its position in the page.
 *
 *   0      4      8          12            18         20        22    23
 *   ┌──────┬──────┬──────────┬─────────────┬──────────┬─────────┬─────┬─────────────────┬──────┐
 *   │ xmin │ xmax │ cid/xvac │ ctid        │infomask2 │infomask │hoff │ null bitmap, pad│ data │
 *   │ u32  │ u32  │   u32    │ 3 × u16     │   u16    │   u16   │ u8  │                 │      │
 *   └──────┴──────┴──────────┴─────────────┴──────────┴─────────┴─────┴─────────────────┴──────┘
 *   ctid: block high half, block low half, offset number
 */
import { ItemFlag, itemFlags, itemOffset, storedItem } from './page-header';
import { DamagedPage, putU16, putU32, u16 } from './little-endian';

export const TUPLE_HEADER_BYTES = 23;
/** The largest row with its header: a page less its header and one line pointer. */
export const MAX_TUPLE_BYTES = 8160;

export const Infomask = {
  xmaxKeyShareLock: 0x0010,
  comboCid: 0x0020,
  xmaxExclusiveLock: 0x0040,
  xmaxLockOnly: 0x0080,
  xminCommitted: 0x0100,
  xminInvalid: 0x0200,
  xmaxCommitted: 0x0400,
  xmaxInvalid: 0x0800,
  xmaxIsMulti: 0x1000,
  moved: 0xc000,
} as const;
/** Everything about visibility (`HEAP_XACT_MASK`). */
export const INFOMASK_TRANSACTION_BITS = 0xfff0;
const XMAX_BITS =
  Infomask.xmaxCommitted |
  Infomask.xmaxInvalid |
  Infomask.xmaxIsMulti |
  Infomask.xmaxKeyShareLock |
  Infomask.xmaxExclusiveLock |
  Infomask.xmaxLockOnly;
const LOCK_BITS = Infomask.xmaxExclusiveLock | Infomask.xmaxKeyShareLock;

export const Infomask2 = { keysUpdated: 0x2000, hotUpdated: 0x4000 } as const;

/** The bits of `infobits_set` in WAL records (src/include/access/heapam_xlog.h). */
const Infobit = {
  isMulti: 0x01,
  lockOnly: 0x02,
  exclusiveLock: 0x04,
  keyShareLock: 0x08,
  keysUpdated: 0x10,
} as const;

/** ctid's offset number of a row that went to another partition, and of one inserted speculatively. */
const MOVED_PARTITIONS_OFFSET = 0xfffd;
const SPECULATIVE_OFFSET = 0xfffe;
const INVALID_BLOCK = 0xffffffff;

/** Where the row of a normal line pointer starts in the page; its whole header is inside. */
export function tupleAt(page: Buffer, offnum: number): number {
  const pointer = storedItem(page, offnum, TUPLE_HEADER_BYTES);
  if (itemFlags(pointer) !== ItemFlag.normal) throw new DamagedPage(`line pointer ${offnum} is not normal`);
  return itemOffset(pointer);
}

export function setXmin(page: Buffer, at: number, xid: number): void {
  putU32(page, at, xid);
}
export function setXmax(page: Buffer, at: number, xid: number): void {
  putU32(page, at + 4, xid);
}
/** `HeapTupleHeaderSetCmin/Cmax` during redo: the command id is always the first and never a combination. */
export function resetCommandId(page: Buffer, at: number): void {
  putU32(page, at + 8, 0);
  setInfomask(page, at, getInfomask(page, at) & ~Infomask.comboCid);
}
/** The field that command ids share with `xvac` of rows moved by an old VACUUM FULL. */
export function setXvac(page: Buffer, at: number, xid: number): void {
  putU32(page, at + 8, xid);
}
export function setCtid(page: Buffer, at: number, block: number, offnum: number): void {
  putU16(page, at + 12, block >>> 16);
  putU16(page, at + 14, block & 0xffff);
  putU16(page, at + 16, offnum);
}
export function setMovedPartitions(page: Buffer, at: number): void {
  setCtid(page, at, INVALID_BLOCK, MOVED_PARTITIONS_OFFSET);
}
export function isSpeculative(page: Buffer, at: number): boolean {
  return u16(page, at + 16) === SPECULATIVE_OFFSET;
}
export function getInfomask2(page: Buffer, at: number): number {
  return u16(page, at + 18);
}
export function setInfomask2(page: Buffer, at: number, value: number): void {
  putU16(page, at + 18, value);
}
export function getInfomask(page: Buffer, at: number): number {
  return u16(page, at + 20);
}
export function setInfomask(page: Buffer, at: number, value: number): void {
  putU16(page, at + 20, value);
}
export function getDataOffset(page: Buffer, at: number): number {
  return page[at + 22]!;
}

/** `HEAP_XMAX_IS_LOCKED_ONLY`. */
export function xmaxIsLockedOnly(infomask: number): boolean {
  return (
    (infomask & Infomask.xmaxLockOnly) !== 0 ||
    (infomask & (Infomask.xmaxIsMulti | LOCK_BITS)) === Infomask.xmaxExclusiveLock
  );
}

/** Forgets what the row said about its xmax and sets what a record's `infobits` say (`fix_infomask_from_infobits`). */
export function setXmaxState(page: Buffer, at: number, infobits: number): void {
  let mask = getInfomask(page, at) & ~(XMAX_BITS | Infomask.moved);
  let mask2 = getInfomask2(page, at) & ~Infomask2.keysUpdated;
  if (infobits & Infobit.isMulti) mask |= Infomask.xmaxIsMulti;
  if (infobits & Infobit.lockOnly) mask |= Infomask.xmaxLockOnly;
  if (infobits & Infobit.exclusiveLock) mask |= Infomask.xmaxExclusiveLock;
  if (infobits & Infobit.keyShareLock) mask |= Infomask.xmaxKeyShareLock;
  if (infobits & Infobit.keysUpdated) mask2 |= Infomask2.keysUpdated;
  setInfomask(page, at, mask);
  setInfomask2(page, at, mask2);
}

export function setHotUpdated(page: Buffer, at: number, on: boolean): void {
  const mask2 = getInfomask2(page, at);
  setInfomask2(page, at, on ? mask2 | Infomask2.hotUpdated : mask2 & ~Infomask2.hotUpdated);
}

/** What a WAL record keeps of a new row's header: the rest follows from the record itself. */
export interface NewTuple {
  readonly xmin: number;
  readonly xmax: number;
  readonly block: number;
  readonly offnum: number;
  readonly infomask2: number;
  readonly infomask: number;
  readonly dataOffset: number;
}

/** Writes the 23 header bytes of a new row. */
export function writeTupleHeader(page: Buffer, at: number, tuple: NewTuple): void {
  setXmin(page, at, tuple.xmin);
  setXmax(page, at, tuple.xmax);
  setXvac(page, at, 0);
  setCtid(page, at, tuple.block, tuple.offnum);
  setInfomask2(page, at, tuple.infomask2);
  setInfomask(page, at, tuple.infomask & ~Infomask.comboCid);
  page[at + 22] = tuple.dataOffset;
}
