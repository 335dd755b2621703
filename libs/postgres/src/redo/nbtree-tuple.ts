/**
 * B-tree pages and index tuples (src/include/access/nbtree.h, itup.h).
 *
 *   page's special space                       metadata, behind the header of block 0
 *   ┌──────┬──────┬───────┬───────┬─────────┐  magic, version, root, level, fastroot, fastlevel, deleted pages (u32 each),
 *   │ prev │ next │ level │ flags │ cycleid │  pad, heap tuples (f64), allequalimage (u8), pad: 48 bytes
 *   │ u32  │ u32  │  u32  │  u16  │   u16   │
 *   └──────┴──────┴───────┴───────┴─────────┘
 *
 *   index tuple: block high u16, block low u16, offset number u16, info u16 (13 bits size), key …, [posting list]
 *   A posting list tuple has ALT_TID in info and IS_POSTING in the offset number, whose low 12 bits count the heap TIDs;
 *   the block number is where in the tuple they start. A TID is 6 bytes.
 */
import { BLOCK_SIZE } from '@coppice/vocabulary';
import { align8, initPage, must, pageSpecial } from './page-header';
import { DamagedPage, putU16, putU32, u16, u32 } from './little-endian';

export const SPECIAL_BYTES = 16;
export const TID_BYTES = 6;
export const INDEX_TUPLE_HEADER_BYTES = 8;
/** The first item of a page that has a right sibling. */
export const HIGH_KEY = 1;
export const NO_PAGE = 0;

export const BtreeFlag = {
  leaf: 0x001,
  root: 0x002,
  deleted: 0x004,
  meta: 0x008,
  halfDead: 0x010,
  splitEnd: 0x020,
  hasGarbage: 0x040,
  incompleteSplit: 0x080,
  hasFullXid: 0x100,
} as const;

const SIZE_MASK = 0x1fff;
const ALT_TID = 0x2000;
const IS_POSTING = 0x2000;
const COUNT_MASK = 0x0fff;

/** `_bt_pageinit`. */
export function initBtreePage(page: Buffer): void {
  initPage(page, SPECIAL_BYTES);
}

function special(page: Buffer): number {
  const at = pageSpecial(page);
  if (at !== BLOCK_SIZE - SPECIAL_BYTES) throw new DamagedPage(`special space at ${at}`);
  return at;
}
export function setPrev(page: Buffer, block: number): void {
  putU32(page, special(page), block);
}
export function getNext(page: Buffer): number {
  return u32(page, special(page) + 4);
}
export function setNext(page: Buffer, block: number): void {
  putU32(page, special(page) + 4, block);
}
export function setLevel(page: Buffer, level: number): void {
  putU32(page, special(page) + 8, level);
}
export function getFlags(page: Buffer): number {
  return u16(page, special(page) + 12);
}
export function setFlags(page: Buffer, flags: number): void {
  putU16(page, special(page) + 12, flags);
}
export function setCycleId(page: Buffer, cycleId: number): void {
  putU16(page, special(page) + 14, cycleId);
}

/** The size that a tuple states; its bytes up to there are inside `end`. */
export function tupleSize(bytes: Buffer, at: number, end: number): number {
  if (at + INDEX_TUPLE_HEADER_BYTES > end) throw new DamagedPage(`index tuple at ${at} of ${end}`);
  const size = u16(bytes, at + 6) & SIZE_MASK;
  if (!(size >= INDEX_TUPLE_HEADER_BYTES && at + size <= end))
    throw new DamagedPage(`index tuple of ${size} bytes at ${at} of ${end}`);
  return size;
}
/** The same, rounded up: what the tuple takes in a page and in a record. */
export function alignedTupleSize(bytes: Buffer, at: number, end: number): number {
  const size = align8(tupleSize(bytes, at, end));
  if (at + size > end) throw new DamagedPage(`index tuple of ${size} bytes at ${at} of ${end}`);
  return size;
}

export function isPosting(bytes: Buffer, at: number): boolean {
  return (u16(bytes, at + 6) & ALT_TID) !== 0 && (u16(bytes, at + 4) & IS_POSTING) !== 0;
}

/** How many heap TIDs a posting list tuple holds. */
export function postingCount(bytes: Buffer, at: number): number {
  return u16(bytes, at + 4) & COUNT_MASK;
}

/** Where the posting list of the tuple at `at` starts; the whole list is inside the tuple. */
export function postingAt(bytes: Buffer, at: number, end: number): number {
  must(isPosting(bytes, at), 'not a posting list tuple');
  const start = getDownlink(bytes, at);
  const size = tupleSize(bytes, at, end);
  if (!(start >= INDEX_TUPLE_HEADER_BYTES && start + postingCount(bytes, at) * TID_BYTES <= size))
    throw new DamagedPage(`posting list of ${postingCount(bytes, at)} at ${start} of ${size}`);
  return at + start;
}

/** The block number in a tuple's TID: a pivot's downlink, a high key's top parent, or where a posting list starts. */
export function getDownlink(bytes: Buffer, at: number): number {
  return u16(bytes, at) * 0x10000 + u16(bytes, at + 2);
}
export function setDownlink(bytes: Buffer, at: number, block: number): void {
  putU16(bytes, at, block >>> 16);
  putU16(bytes, at + 2, block & 0xffff);
}

/** Says how large the tuple at `at` is now and that it has `tids` heap TIDs starting `keyBytes` into it. */
export function markPosting(
  bytes: Buffer,
  at: number,
  tuple: { size: number; tids: number; keyBytes: number },
): void {
  const info = u16(bytes, at + 6) & ~SIZE_MASK;
  putU16(bytes, at + 6, info | ALT_TID | tuple.size);
  putU16(bytes, at + 4, tuple.tids | IS_POSTING);
  setDownlink(bytes, at, tuple.keyBytes);
}

/** Says that the tuple at `at` is an ordinary one of `size` bytes; its TID is written by the caller. */
export function markPlain(bytes: Buffer, at: number, size: number): void {
  const info = u16(bytes, at + 6) & ~(SIZE_MASK | ALT_TID);
  putU16(bytes, at + 6, info | size);
}

/** The high key of a half-dead leaf: nothing but a link to the top of the subtree that is being deleted. */
export function writeTopParentTuple(bytes: Buffer, at: number, topParent: number): void {
  setDownlink(bytes, at, topParent);
  putU16(bytes, at + 4, 0);
  putU16(bytes, at + 6, INDEX_TUPLE_HEADER_BYTES | ALT_TID);
}
