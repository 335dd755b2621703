/**
 * Redo of the heap's own changes: insert, delete, update, lock (heap_redo in src/backend/access/heap/heapam.c; formats in
 * src/include/access/heapam_xlog.h). Block 0 is the (new) heap block. Block 1 is the old heap block of an update across
 * pages; in insert, delete and lock, and as blocks 2 and 3 of an update, newer minor versions name the visibility map
 * page whose bits the change clears.
 */
import { Fork } from '@coppice/vocabulary';
import type { BlockReference, WalRecord } from '../wal/record';
import { HEAP_INIT_PAGE, HEAP_OP_MASK, HeapInfo } from '../wal/rmgr';
import {
  MAX_TUPLE_BYTES,
  TUPLE_HEADER_BYTES,
  getDataOffset,
  getInfomask,
  resetCommandId,
  setCtid,
  setHotUpdated,
  setMovedPartitions,
  setXmax,
  setXmaxState,
  setXmin,
  tupleAt,
  writeTupleHeader,
  xmaxIsLockedOnly,
} from './heap-tuple';
import {
  PageFlag,
  initPage,
  itemLength,
  linePointer,
  must,
  setPageFlag,
  setPageLsn,
  setPrunable,
} from './page-header';
import { reserveHeapItem } from './page-items';
import { VM_ALL_BITS, VM_ALL_FROZEN, clearVmBits, getVmBits, vmPageOf } from './visibility-map';
import { DamagedPage, u16, u32, u8 } from './little-endian';

/** Flags of insert and multi-insert. */
export const InsertFlag = { allVisibleCleared: 0x01, allFrozenSet: 0x20 } as const;
const DeleteFlag = { allVisibleCleared: 0x01, isSuper: 0x08, isPartitionMove: 0x10 } as const;
const UpdateFlag = {
  oldAllVisibleCleared: 0x01,
  newAllVisibleCleared: 0x02,
  prefixFromOld: 0x20,
  suffixFromOld: 0x40,
} as const;

const TUPLE_SUMMARY_BYTES = 5;

/** Applies a heap record to one of its blocks. */
export function redoHeap(page: Buffer, record: WalRecord, block: BlockReference): void {
  const op = record.info & HEAP_OP_MASK;
  if (block.relation.fork === Fork.vm) {
    clearVisibilityBits(page, record, block, op);
    return;
  }
  if (block.id > 1) throw new DamagedPage(`block ${block.id}`);
  switch (op) {
    case HeapInfo.insert:
      insert(page, record, block);
      break;
    case HeapInfo.delete:
      deleteRow(page, record, block);
      break;
    case HeapInfo.update:
      update(page, record, block, false);
      break;
    case HeapInfo.hotUpdate:
      update(page, record, block, true);
      break;
    case HeapInfo.confirm:
      confirm(page, record, block);
      break;
    case HeapInfo.lock:
      lock(page, record, block);
      break;
    case HeapInfo.inplace:
      inplace(page, record, block);
      break;
    default:
      throw new DamagedPage('this operation has no blocks');
  }
  setPageLsn(page, record.endLsn);
}

/** xl_heap_insert: offset number u16, flags u8. Block data: infomask2 u16, infomask u16, hoff u8, then the row. */
function insert(page: Buffer, record: WalRecord, block: BlockReference): void {
  const main = record.mainData;
  const offnum = u16(main, 0);
  const flags = u8(main, 2);
  if (record.info & HEAP_INIT_PAGE) initPage(page, 0);
  const { data } = block;
  if (data.length <= TUPLE_SUMMARY_BYTES) throw new DamagedPage(`row of ${data.length} bytes`);
  const at = reserveHeapItem(page, offnum, tupleBytes(data.length - TUPLE_SUMMARY_BYTES));
  writeTupleHeader(page, at, {
    xmin: record.xid,
    xmax: 0,
    block: block.block,
    offnum,
    infomask2: u16(data, 0),
    infomask: u16(data, 2),
    dataOffset: data[4]!,
  });
  data.copy(page, at + TUPLE_HEADER_BYTES, TUPLE_SUMMARY_BYTES);
  if (flags & InsertFlag.allVisibleCleared) setPageFlag(page, PageFlag.allVisible, false);
}

function tupleBytes(afterHeader: number): number {
  if (!(afterHeader >= 0 && afterHeader <= MAX_TUPLE_BYTES))
    throw new DamagedPage(`row of ${afterHeader} bytes`);
  return TUPLE_HEADER_BYTES + afterHeader;
}

/** xl_heap_delete: xmax u32, offset number u16, infobits u8, flags u8. */
function deleteRow(page: Buffer, record: WalRecord, block: BlockReference): void {
  const main = record.mainData;
  const xmax = u32(main, 0);
  const offnum = u16(main, 4);
  const infobits = u8(main, 6);
  const flags = u8(main, 7);
  const at = tupleAt(page, offnum);
  setXmaxState(page, at, infobits);
  setHotUpdated(page, at, false);
  if (flags & DeleteFlag.isSuper) setXmin(page, at, 0);
  else setXmax(page, at, xmax);
  resetCommandId(page, at);
  setPrunable(page, record.xid);
  if (flags & DeleteFlag.allVisibleCleared) setPageFlag(page, PageFlag.allVisible, false);
  if (flags & DeleteFlag.isPartitionMove) setMovedPartitions(page, at);
  else setCtid(page, at, block.block, offnum);
}

/**
 * xl_heap_update: old xmax u32, old offset number u16, old infobits u8, flags u8, new xmax u32, new offset number u16.
 * Data of block 0: [prefix u16] [suffix u16] infomask2 u16, infomask u16, hoff u8, then the row without prefix and suffix.
 */
function update(page: Buffer, record: WalRecord, block: BlockReference, hot: boolean): void {
  const oldBlock = heapBlockOf(record, 1);
  const samePage = oldBlock === undefined;
  const newBlock = samePage ? block.block : requiredBlock(record, 0).block;
  if (samePage || block.id === 1) {
    markUpdated(page, record, { newBlock, hot });
  }
  if (block.id === 0) {
    if (!samePage && record.info & HEAP_INIT_PAGE) initPage(page, 0);
    addNewVersion(page, record, block, samePage);
  }
}

function markUpdated(page: Buffer, record: WalRecord, to: { newBlock: number; hot: boolean }): void {
  const main = record.mainData;
  const at = tupleAt(page, u16(main, 4));
  setXmaxState(page, at, u8(main, 6));
  setHotUpdated(page, at, to.hot);
  setXmax(page, at, u32(main, 0));
  resetCommandId(page, at);
  setCtid(page, at, to.newBlock, u16(main, 12));
  setPrunable(page, record.xid);
  if (u8(main, 7) & UpdateFlag.oldAllVisibleCleared) setPageFlag(page, PageFlag.allVisible, false);
}

function addNewVersion(page: Buffer, record: WalRecord, block: BlockReference, samePage: boolean): void {
  const main = record.mainData;
  const flags = u8(main, 7);
  const { data } = block;
  let from = 0;
  let prefix = 0;
  let suffix = 0;
  if (flags & UpdateFlag.prefixFromOld) {
    prefix = u16(data, from);
    from += 2;
  }
  if (flags & UpdateFlag.suffixFromOld) {
    suffix = u16(data, from);
    from += 2;
  }
  const infomask2 = u16(data, from);
  const infomask = u16(data, from + 2);
  const dataOffset = u8(data, from + 4);
  from += TUPLE_SUMMARY_BYTES;

  let oldAt = 0;
  let oldLength = 0;
  let oldData = 0;
  if (prefix + suffix > 0) {
    must(samePage, 'a row made from a row on another page');
    const oldOffnum = u16(main, 4);
    oldAt = tupleAt(page, oldOffnum);
    oldLength = itemLength(linePointer(page, oldOffnum));
    oldData = getDataOffset(page, oldAt);
    if (!(oldData + prefix <= oldLength && suffix <= oldLength))
      throw new DamagedPage(`prefix ${prefix}, suffix ${suffix} of a row of ${oldLength} bytes`);
  }
  const offnum = u16(main, 12);
  const size = tupleBytes(data.length - from + prefix + suffix);
  const at = reserveHeapItem(page, offnum, size);
  writeTupleHeader(page, at, {
    xmin: record.xid,
    xmax: u32(main, 8),
    block: block.block,
    offnum,
    infomask2,
    infomask,
    dataOffset,
  });
  let to = at + TUPLE_HEADER_BYTES;
  if (prefix > 0) {
    const bitmap = dataOffset - TUPLE_HEADER_BYTES;
    if (!(bitmap >= 0 && from + bitmap <= data.length)) throw new DamagedPage(`row data at ${dataOffset}`);
    data.copy(page, to, from, from + bitmap);
    to += bitmap;
    from += bitmap;
    page.copyWithin(to, oldAt + oldData, oldAt + oldData + prefix);
    to += prefix;
  }
  data.copy(page, to, from);
  to += data.length - from;
  if (suffix > 0) page.copyWithin(to, oldAt + oldLength - suffix, oldAt + oldLength);
  if (flags & UpdateFlag.newAllVisibleCleared) setPageFlag(page, PageFlag.allVisible, false);
}

/** xl_heap_confirm: offset number u16. */
function confirm(page: Buffer, record: WalRecord, block: BlockReference): void {
  const offnum = u16(record.mainData, 0);
  setCtid(page, tupleAt(page, offnum), block.block, offnum);
}

/** xl_heap_lock: xmax u32, offset number u16, infobits u8, flags u8. */
function lock(page: Buffer, record: WalRecord, block: BlockReference): void {
  const main = record.mainData;
  const offnum = u16(main, 4);
  const at = tupleAt(page, offnum);
  setXmaxState(page, at, u8(main, 6));
  if (xmaxIsLockedOnly(getInfomask(page, at))) {
    setHotUpdated(page, at, false);
    setCtid(page, at, block.block, offnum);
  }
  setXmax(page, at, u32(main, 0));
  resetCommandId(page, at);
}

/** xl_heap_inplace: offset number u16. Block data: the row's data, as long as before. */
function inplace(page: Buffer, record: WalRecord, block: BlockReference): void {
  const offnum = u16(record.mainData, 0);
  const at = tupleAt(page, offnum);
  const dataOffset = getDataOffset(page, at);
  const length = itemLength(linePointer(page, offnum)) - dataOffset;
  if (length !== block.data.length) throw new DamagedPage(`${block.data.length} bytes in place of ${length}`);
  block.data.copy(page, at + dataOffset);
}

function clearVisibilityBits(page: Buffer, record: WalRecord, block: BlockReference, op: number): void {
  const heap = requiredBlock(record, 0);
  if (op === HeapInfo.update || op === HeapInfo.hotUpdate) {
    const oldHeap = heapBlockOf(record, 1) ?? heap;
    const flags = u8(record.mainData, 7);
    if (flags & UpdateFlag.oldAllVisibleCleared) clearOnPage(page, record, block, oldHeap.block, VM_ALL_BITS);
    if (flags & UpdateFlag.newAllVisibleCleared) clearOnPage(page, record, block, heap.block, VM_ALL_BITS);
    return;
  }
  clearOnPage(page, record, block, heap.block, op === HeapInfo.lock ? VM_ALL_FROZEN : VM_ALL_BITS);
}

/** Clears bits of `heapBlock` when they stand on this visibility map page; the LSN moves only when a bit does. */
export function clearOnPage(
  page: Buffer,
  record: WalRecord,
  block: BlockReference,
  heapBlock: number,
  flags: number,
): void {
  if (vmPageOf(heapBlock) !== block.block || (getVmBits(page, heapBlock) & flags) === 0) return;
  clearVmBits(page, heapBlock, flags);
  setPageLsn(page, record.endLsn);
}

/** The heap block with this id; undefined when there is none, or when that id names a visibility map page. */
function heapBlockOf(record: WalRecord, id: number): BlockReference | undefined {
  return record.blocks.find((b) => b.id === id && b.relation.fork !== Fork.vm);
}

/** The block with this id, which the record must have. */
export function requiredBlock(record: WalRecord, id: number): BlockReference {
  const block = record.blocks.find((b) => b.id === id);
  if (block === undefined) throw new DamagedPage(`no block ${id}`);
  return block;
}
