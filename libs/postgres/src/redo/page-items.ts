/**
 * Adding, removing and moving the items of a page, byte for byte as src/backend/storage/page/bufpage.c does: later
 * records name items by the offset numbers that these functions produced.
 */
import { BLOCK_SIZE } from '@coppice/vocabulary';
import {
  ItemFlag,
  PAGE_HEADER_BYTES,
  PageFlag,
  align8,
  checkPageHeader,
  itemFlags,
  itemLength,
  itemOffset,
  linePointer,
  linePointerAt,
  maxOffset,
  pageLower,
  pageSpecial,
  pageUpper,
  setItemOffset,
  setLinePointer,
  setPageFlag,
  setPageLower,
  setPageUpper,
} from './page-header';
import { DamagedPage, putU32, u16, u32 } from './little-endian';

const LINE_POINTER_BYTES = 4;
const MAX_HEAP_TUPLES = 291;
const MAX_INDEX_TUPLES = 408;

/** Scratch for the items that are being moved. Redo is synchronous and never re-entered. */
const moved = Buffer.alloc(BLOCK_SIZE);
const keptPointers = new Uint32Array(BLOCK_SIZE / LINE_POINTER_BYTES);
const keptPlaces = new Uint16Array(BLOCK_SIZE / LINE_POINTER_BYTES);

/**
 * `PageAddItem` without the copying: makes room for `size` bytes under offset number `offnum` and returns where they go.
 * Without `overwrite` items at and after `offnum` move up by one; with it the line pointer must be unused or one past the last.
 */
export function reserveItem(page: Buffer, offnum: number, size: number, how: { overwrite: boolean }): number {
  checkPageHeader(page);
  const limit = maxOffset(page) + 1;
  if (!(offnum >= 1 && offnum <= limit))
    throw new DamagedPage(`new item at offset number ${offnum} of a page with ${limit - 1}`);
  let needShuffle = false;
  if (offnum < limit) {
    if (how.overwrite) {
      const pointer = linePointer(page, offnum);
      if (!(itemFlags(pointer) === ItemFlag.unused && itemLength(pointer) === 0))
        throw new DamagedPage(`new item over the used item ${offnum}`);
    } else {
      needShuffle = true;
    }
  }
  const lower = pageLower(page) + (offnum === limit || needShuffle ? LINE_POINTER_BYTES : 0);
  const upper = pageUpper(page) - align8(size);
  if (lower > upper) throw new DamagedPage(`no room for an item of ${size} bytes`);
  if (needShuffle) page.copyWithin(linePointerAt(offnum + 1), linePointerAt(offnum), linePointerAt(limit));
  setLinePointer(page, offnum, upper, ItemFlag.normal, size);
  setPageLower(page, lower);
  setPageUpper(page, upper);
  return upper;
}

/** `reserveItem` for heap pages, which have a limit on line pointers. */
export function reserveHeapItem(page: Buffer, offnum: number, size: number): number {
  if (offnum > MAX_HEAP_TUPLES) throw new DamagedPage(`heap item at offset number ${offnum}`);
  return reserveItem(page, offnum, size, { overwrite: true });
}

/** `PageAddItem` for index pages: `size` bytes of `source` from `start`, moving later items up. */
export function insertItem(page: Buffer, offnum: number, source: Buffer, start: number, size: number): void {
  if (!(start >= 0 && size >= 0 && start + size <= source.length))
    throw new DamagedPage(`item of ${size} bytes at ${start} of ${source.length}`);
  const at = reserveItem(page, offnum, size, { overwrite: false });
  source.copy(page, at, start, start + size);
}

/**
 * `compactify_tuples`: packs the first `count` items of `keptPlaces`/`keptPointers` against the special space, in that order,
 * and points the line pointers (`keptPlaces`) at them.
 */
function compactItems(page: Buffer, count: number): void {
  let upper = pageSpecial(page);
  page.copy(moved, 0, 0, upper);
  for (let i = 0; i < count; i++) {
    const offset = itemOffset(keptPointers[i]!);
    const length = align8(itemLength(keptPointers[i]!));
    upper -= length;
    if (offset !== upper) moved.copy(page, upper, offset, offset + length);
    setItemOffset(page, keptPlaces[i]!, upper);
  }
  setPageUpper(page, upper);
}

/** `PageRepairFragmentation`: gives back the space of a heap page's dead items and the unused line pointers at its end. */
export function repairFragmentation(page: Buffer): void {
  checkPageHeader(page);
  const upper = pageUpper(page);
  const special = pageSpecial(page);
  const lower = pageLower(page);
  const count = maxOffset(page);
  if (count > MAX_HEAP_TUPLES) throw new DamagedPage(`heap page with ${count} line pointers`);
  let kept = 0;
  let unused = 0;
  let total = 0;
  let lastUsed = 0;
  for (let offnum = 1; offnum <= count; offnum++) {
    const pointer = u32(page, linePointerAt(offnum));
    if (itemFlags(pointer) === ItemFlag.unused) {
      setLinePointer(page, offnum, 0, ItemFlag.unused, 0);
      unused++;
      continue;
    }
    lastUsed = offnum;
    const length = itemLength(pointer);
    if (length === 0) continue;
    const offset = itemOffset(pointer);
    if (!(offset >= upper && offset + align8(length) <= special))
      throw new DamagedPage(`item ${offnum} stands at ${offset}, ${length} bytes long`);
    keptPointers[kept] = pointer;
    keptPlaces[kept++] = offnum;
    total += align8(length);
  }
  if (total > special - lower) throw new DamagedPage(`items of ${total} bytes in ${special - lower}`);
  compactItems(page, kept);
  if (lastUsed !== count) {
    setPageLower(page, lower - LINE_POINTER_BYTES * (count - lastUsed));
    unused -= count - lastUsed;
  }
  setPageFlag(page, PageFlag.hasFreeLines, unused > 0);
}

/** `PageTruncateLinePointerArray`: drops unused line pointers from the end, but leaves one. */
export function truncateLinePointers(page: Buffer): void {
  const count = maxOffset(page);
  if (count > MAX_HEAP_TUPLES) throw new DamagedPage(`heap page with ${count} line pointers`);
  let last = count;
  while (last > 1 && itemFlags(linePointer(page, last)) === ItemFlag.unused) last--;
  let unusedLeft = false;
  for (let offnum = last; offnum >= 1 && !unusedLeft; offnum--) {
    unusedLeft = itemFlags(linePointer(page, offnum)) === ItemFlag.unused;
  }
  setPageLower(page, pageLower(page) - LINE_POINTER_BYTES * (count - last));
  setPageFlag(page, PageFlag.hasFreeLines, unusedLeft);
}

/** An index page's line pointer, with the checks that bufpage.c makes before it moves data. */
function checkedIndexItem(page: Buffer, offnum: number): number {
  const pointer = linePointer(page, offnum);
  const offset = itemOffset(pointer);
  const length = itemLength(pointer);
  if (
    !(offset >= pageUpper(page) && offset + align8(length) <= pageSpecial(page) && offset === align8(offset))
  )
    throw new DamagedPage(`index item ${offnum} stands at ${offset}, ${length} bytes long`);
  return pointer;
}

/** `PageIndexTupleDelete`: removes an index item and its line pointer. */
export function deleteIndexItem(page: Buffer, offnum: number): void {
  checkPageHeader(page);
  const pointer = checkedIndexItem(page, offnum);
  const offset = itemOffset(pointer);
  const size = align8(itemLength(pointer));
  const lower = pageLower(page);
  const upper = pageUpper(page);
  page.copyWithin(linePointerAt(offnum), linePointerAt(offnum + 1), lower);
  page.copyWithin(upper + size, upper, offset);
  setPageUpper(page, upper + size);
  setPageLower(page, lower - LINE_POINTER_BYTES);
  shiftItems(page, offset, size);
}

/** Moves the line pointers of items at or before `offset` by `by` bytes. */
function shiftItems(page: Buffer, offset: number, by: number): void {
  const count = maxOffset(page);
  for (let offnum = 1; offnum <= count; offnum++) {
    const pointer = u32(page, linePointerAt(offnum));
    if (itemLength(pointer) > 0 && itemOffset(pointer) <= offset)
      setItemOffset(page, offnum, itemOffset(pointer) + by);
  }
}

/** `PageIndexMultiDelete`: removes index items; `count` offset numbers stand ascending as u16 in `source` from `start`. */
export function deleteIndexItems(page: Buffer, source: Buffer, start: number, count: number): void {
  if (count <= 2) {
    for (let i = count - 1; i >= 0; i--) deleteIndexItem(page, u16(source, start + i * 2));
    return;
  }
  checkPageHeader(page);
  const total = maxOffset(page);
  if (total > MAX_INDEX_TUPLES) throw new DamagedPage(`index page with ${total} line pointers`);
  const lower = pageLower(page);
  const special = pageSpecial(page);
  let next = 0;
  let kept = 0;
  let size = 0;
  for (let offnum = 1; offnum <= total; offnum++) {
    const pointer = checkedIndexItem(page, offnum);
    if (next < count && offnum === u16(source, start + next * 2)) {
      next++;
      continue;
    }
    keptPointers[kept] = pointer;
    keptPlaces[kept] = kept + 1;
    kept++;
    size += align8(itemLength(pointer));
  }
  if (next !== count) throw new DamagedPage(`${count} items to delete, ${next} found in order`);
  if (size > special - lower) throw new DamagedPage(`items of ${size} bytes in ${special - lower}`);
  for (let i = 0; i < kept; i++) putU32(page, linePointerAt(i + 1), keptPointers[i]!);
  setPageLower(page, PAGE_HEADER_BYTES + kept * LINE_POINTER_BYTES);
  compactItems(page, kept);
}

/** `PageIndexTupleOverwrite`: puts `size` bytes of `source` where an index item stands, moving others as its size changes. */
export function overwriteIndexItem(page: Buffer, offnum: number, source: Buffer, size: number): void {
  if (!(size >= 0 && size <= source.length && size <= BLOCK_SIZE))
    throw new DamagedPage(`index item of ${size} bytes`);
  checkPageHeader(page);
  const pointer = checkedIndexItem(page, offnum);
  const offset = itemOffset(pointer);
  const oldSize = align8(itemLength(pointer));
  const upper = pageUpper(page);
  if (align8(size) > oldSize + upper - pageLower(page))
    throw new DamagedPage(`no room to make item ${offnum} ${size} bytes long`);
  const shrinksBy = oldSize - align8(size);
  if (shrinksBy !== 0) {
    page.copyWithin(upper + shrinksBy, upper, offset);
    setPageUpper(page, upper + shrinksBy);
    shiftItems(page, offset, shrinksBy);
  }
  setLinePointer(page, offnum, offset + shrinksBy, itemFlags(pointer), size);
  source.copy(page, offset + shrinksBy, 0, size);
}
