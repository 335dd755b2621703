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
  must(at === BLOCK_SIZE - SPECIAL_BYTES, `special space at ${at}`);
  return at;
}
export function setPrev(page: Buffer, block: number): void {
  page.writeUInt32LE(block, special(page));
}
export function getNext(page: Buffer): number {
  return page.readUInt32LE(special(page) + 4);
}
export function setNext(page: Buffer, block: number): void {
  page.writeUInt32LE(block, special(page) + 4);
}
export function setLevel(page: Buffer, level: number): void {
  page.writeUInt32LE(level, special(page) + 8);
}
export function getFlags(page: Buffer): number {
  return page.readUInt16LE(special(page) + 12);
}
export function setFlags(page: Buffer, flags: number): void {
  page.writeUInt16LE(flags, special(page) + 12);
}
export function setCycleId(page: Buffer, cycleId: number): void {
  page.writeUInt16LE(cycleId, special(page) + 14);
}

/** The size that a tuple states; its bytes up to there are inside `end`. */
export function tupleSize(bytes: Buffer, at: number, end: number): number {
  must(at + INDEX_TUPLE_HEADER_BYTES <= end, `index tuple at ${at} of ${end}`);
  const size = bytes.readUInt16LE(at + 6) & SIZE_MASK;
  must(
    size >= INDEX_TUPLE_HEADER_BYTES && at + size <= end,
    `index tuple of ${size} bytes at ${at} of ${end}`,
  );
  return size;
}
/** The same, rounded up: what the tuple takes in a page and in a record. */
export function alignedTupleSize(bytes: Buffer, at: number, end: number): number {
  const size = align8(tupleSize(bytes, at, end));
  must(at + size <= end, `index tuple of ${size} bytes at ${at} of ${end}`);
  return size;
}

export function isPosting(bytes: Buffer, at: number): boolean {
  return (bytes.readUInt16LE(at + 6) & ALT_TID) !== 0 && (bytes.readUInt16LE(at + 4) & IS_POSTING) !== 0;
}

/** How many heap TIDs a posting list tuple holds. */
export function postingCount(bytes: Buffer, at: number): number {
  return bytes.readUInt16LE(at + 4) & COUNT_MASK;
}

/** Where the posting list of the tuple at `at` starts; the whole list is inside the tuple. */
export function postingAt(bytes: Buffer, at: number, end: number): number {
  must(isPosting(bytes, at), 'not a posting list tuple');
  const start = getDownlink(bytes, at);
  const size = tupleSize(bytes, at, end);
  must(
    start >= INDEX_TUPLE_HEADER_BYTES && start + postingCount(bytes, at) * TID_BYTES <= size,
    `posting list of ${postingCount(bytes, at)} at ${start} of ${size}`,
  );
  return at + start;
}

/** The block number in a tuple's TID: a pivot's downlink, a high key's top parent, or where a posting list starts. */
export function getDownlink(bytes: Buffer, at: number): number {
  return bytes.readUInt16LE(at) * 0x10000 + bytes.readUInt16LE(at + 2);
}
export function setDownlink(bytes: Buffer, at: number, block: number): void {
  bytes.writeUInt16LE(block >>> 16, at);
  bytes.writeUInt16LE(block & 0xffff, at + 2);
}

/** Says how large the tuple at `at` is now and that it has `tids` heap TIDs starting `keyBytes` into it. */
export function markPosting(
  bytes: Buffer,
  at: number,
  tuple: { size: number; tids: number; keyBytes: number },
): void {
  const info = bytes.readUInt16LE(at + 6) & ~SIZE_MASK;
  bytes.writeUInt16LE(info | ALT_TID | tuple.size, at + 6);
  bytes.writeUInt16LE(tuple.tids | IS_POSTING, at + 4);
  setDownlink(bytes, at, tuple.keyBytes);
}

/** Says that the tuple at `at` is an ordinary one of `size` bytes; its TID is written by the caller. */
export function markPlain(bytes: Buffer, at: number, size: number): void {
  const info = bytes.readUInt16LE(at + 6) & ~(SIZE_MASK | ALT_TID);
  bytes.writeUInt16LE(info | size, at + 6);
}

/** The high key of a half-dead leaf: nothing but a link to the top of the subtree that is being deleted. */
export function writeTopParentTuple(bytes: Buffer, at: number, topParent: number): void {
  setDownlink(bytes, at, topParent);
  bytes.writeUInt16LE(0, at + 4);
  bytes.writeUInt16LE(INDEX_TUPLE_HEADER_BYTES | ALT_TID, at + 6);
}
