/**
 * Posting lists: merging equal keys into one tuple with many heap TIDs, splitting such a list at a new TID, and removing
 * TIDs from it (src/backend/access/nbtree/nbtdedup.c).
 */
import { BLOCK_SIZE } from '@coppice/vocabulary';
import {
  BtreeFlag,
  HIGH_KEY,
  INDEX_TUPLE_HEADER_BYTES,
  NO_PAGE,
  TID_BYTES,
  getFlags,
  getNext,
  initBtreePage,
  isPosting,
  markPlain,
  markPosting,
  postingAt,
  postingCount,
  setFlags,
  tupleSize,
} from './nbtree-tuple';
import { align8, itemLength, itemOffset, maxOffset, must, pageSpecial, storedItem } from './page-header';
import { insertItem, overwriteIndexItem } from './page-items';
import { DamagedPage, u16 } from './little-endian';

/** `BTMaxItemSize`: no tuple on a page may be larger. */
const MAX_TUPLE_BYTES = 2704;

const newPage = Buffer.alloc(BLOCK_SIZE);
const merged = Buffer.alloc(BLOCK_SIZE);

/**
 * `_bt_swap_posting`, in place: the TID of the new tuple at `newTuple[newAt]` takes its place at `position` in the posting
 * list at `page[listAt]`, and the list's last TID becomes the new tuple's.
 */
export function swapPosting(
  page: Buffer,
  list: { at: number; end: number },
  newTuple: Buffer,
  newAt: number,
  position: number,
): void {
  const start = postingAt(page, list.at, list.end);
  const count = postingCount(page, list.at);
  if (!(position > 0 && position < count))
    throw new DamagedPage(`posting list of ${count} split at ${position}`);
  const gap = start + position * TID_BYTES;
  const last = start + (count - 1) * TID_BYTES;
  page.copy(merged, 0, last, last + TID_BYTES);
  page.copyWithin(gap + TID_BYTES, gap, last);
  newTuple.copy(page, gap, newAt, newAt + TID_BYTES);
  merged.copy(newTuple, newAt, 0, TID_BYTES);
}

/** The posting list being gathered in `merged`: key first, TIDs behind it. */
const pending = { baseOffnum: 0, baseAt: 0, baseSize: 0, keyBytes: 0, tids: 0, items: 0 };

function startPending(page: Buffer, offnum: number): void {
  const { at, size } = leafTuple(page, offnum);
  pending.baseOffnum = offnum;
  pending.baseAt = at;
  pending.baseSize = size;
  pending.items = 1;
  if (isPosting(page, at)) {
    const tidsAt = postingAt(page, at, at + size);
    pending.keyBytes = tidsAt - at;
    pending.tids = postingCount(page, at);
    page.copy(merged, pending.keyBytes, tidsAt, tidsAt + pending.tids * TID_BYTES);
  } else {
    pending.keyBytes = size;
    pending.tids = 1;
    page.copy(merged, pending.keyBytes, at, at + TID_BYTES);
  }
  page.copy(merged, 0, at, at + pending.keyBytes);
}

function addToPending(page: Buffer, offnum: number): void {
  const { at, size } = leafTuple(page, offnum);
  const posting = isPosting(page, at);
  const count = posting ? postingCount(page, at) : 1;
  const tidsAt = posting ? postingAt(page, at, at + size) : at;
  if (align8(pending.keyBytes + (pending.tids + count) * TID_BYTES) > MAX_TUPLE_BYTES)
    throw new DamagedPage(`merged posting list of ${pending.tids + count}`);
  page.copy(merged, pending.keyBytes + pending.tids * TID_BYTES, tidsAt, tidsAt + count * TID_BYTES);
  pending.tids += count;
  pending.items++;
}

function finishPending(page: Buffer): void {
  const offnum = maxOffset(newPage) + 1;
  if (pending.items === 1) {
    insertItem(newPage, offnum, page, pending.baseAt, pending.baseSize);
    return;
  }
  const used = pending.keyBytes + pending.tids * TID_BYTES;
  const size = align8(used);
  merged.fill(0, used, size);
  markPosting(merged, 0, { size, tids: pending.tids, keyBytes: pending.keyBytes });
  insertItem(newPage, offnum, merged, 0, size);
}

function leafTuple(page: Buffer, offnum: number): { at: number; size: number } {
  const pointer = storedItem(page, offnum, INDEX_TUPLE_HEADER_BYTES);
  const at = itemOffset(pointer);
  return { at, size: tupleSize(page, at, at + itemLength(pointer)) };
}

/**
 * `btree_xlog_dedup`: merges runs of tuples of a leaf page. `intervals` holds `count` pairs: offset number of a run's first
 * tuple u16, tuples in the run u16.
 */
export function deduplicate(page: Buffer, intervals: Buffer, count: number): void {
  if (intervals.length < count * 4) throw new DamagedPage(`${count} intervals in ${intervals.length} bytes`);
  initBtreePage(newPage);
  page.copy(newPage, pageSpecial(page), pageSpecial(page));
  const rightmost = getNext(page) === NO_PAGE;
  const last = maxOffset(page);
  if (!rightmost) {
    const pointer = storedItem(page, HIGH_KEY, INDEX_TUPLE_HEADER_BYTES);
    insertItem(newPage, HIGH_KEY, page, itemOffset(pointer), itemLength(pointer));
  }
  const first = rightmost ? HIGH_KEY : HIGH_KEY + 1;
  must(last >= first, 'a page without tuples');
  let interval = 0;
  startPending(page, first);
  for (let offnum = first + 1; offnum <= last; offnum++) {
    const continues =
      interval < count &&
      pending.baseOffnum === u16(intervals, interval * 4) &&
      pending.items < u16(intervals, interval * 4 + 2);
    if (continues) {
      addToPending(page, offnum);
      continue;
    }
    if (pending.items > 1) interval++;
    finishPending(page);
    startPending(page, offnum);
  }
  finishPending(page);
  setFlags(newPage, getFlags(newPage) & ~BtreeFlag.hasGarbage);
  newPage.copy(page);
}

/**
 * `btree_xlog_updates`: removes TIDs from posting lists. From `start` in `data`: `count` offset numbers u16, then per tuple
 * the number of TIDs removed u16 and their places in the list, ascending, u16.
 */
export function removePostings(page: Buffer, data: Buffer, start: number, count: number): void {
  let from = start + count * 2;
  for (let i = 0; i < count; i++) {
    const offnum = u16(data, start + i * 2);
    const removed = u16(data, from);
    removeFromPosting(page, offnum, data, from + 2, removed);
    from += 2 + removed * 2;
  }
}

/** `_bt_update_posting` and the overwriting of the tuple with its shorter self. */
function removeFromPosting(
  page: Buffer,
  offnum: number,
  data: Buffer,
  removedAt: number,
  removed: number,
): void {
  const { at, size } = leafTuple(page, offnum);
  const tidsAt = postingAt(page, at, at + size);
  const count = postingCount(page, at);
  const left = count - removed;
  if (!(left > 0 && left < count)) throw new DamagedPage(`${removed} of ${count} heap positions removed`);
  const keyBytes = tidsAt - at;
  page.copy(merged, 0, at, tidsAt);
  let to = left > 1 ? keyBytes : 0;
  let next = 0;
  for (let i = 0; i < count; i++) {
    if (next < removed && u16(data, removedAt + next * 2) === i) {
      next++;
      continue;
    }
    if (i - next >= left)
      throw new DamagedPage(`${removed} heap positions to remove, ${next} found in order`);
    page.copy(merged, to, tidsAt + i * TID_BYTES, tidsAt + (i + 1) * TID_BYTES);
    to += TID_BYTES;
  }
  if (left === 1) {
    markPlain(merged, 0, keyBytes);
    overwriteIndexItem(page, offnum, merged, keyBytes);
    return;
  }
  const newSize = align8(to);
  merged.fill(0, to, newSize);
  markPosting(merged, 0, { size: newSize, tids: left, keyBytes });
  overwriteIndexItem(page, offnum, merged, newSize);
}
