/**
 * Redo of the heap's other changes: prune and freeze, visibility, many rows at once (heap2_redo in
 * src/backend/access/heap/heapam.c; formats in src/include/access/heapam_xlog.h).
 */
import { Fork } from '@coppice/vocabulary';
import type { BlockReference, WalRecord } from '../wal/record';
import { HEAP_INIT_PAGE, HEAP_OP_MASK, Heap2Info } from '../wal/rmgr';
import { InsertFlag, clearOnPage, requiredBlock } from './heap';
import {
  MAX_TUPLE_BYTES,
  TUPLE_HEADER_BYTES,
  setInfomask,
  setInfomask2,
  setXmax,
  setXmaxState,
  setXvac,
  tupleAt,
  writeTupleHeader,
} from './heap-tuple';
import {
  ItemFlag,
  PageFlag,
  initPage,
  linePointer,
  pageIsNew,
  setLinePointer,
  setPageFlag,
  setPageLsn,
} from './page-header';
import { repairFragmentation, reserveHeapItem, truncateLinePointers } from './page-items';
import { VM_ALL_BITS, VM_ALL_FROZEN, getVmBits, setVmBits } from './visibility-map';
import { DamagedPage, u16, u32, u8 } from './little-endian';

const PruneFlag = {
  cleanupLock: 0x04,
  freezePlans: 0x10,
  redirections: 0x20,
  deadItems: 0x40,
  nowUnusedItems: 0x80,
} as const;
const FreezeFlag = { xvacFrozen: 0x02, xvacInvalid: 0x04 } as const;
const FROZEN_XID = 2;
const FREEZE_PLAN_BYTES = 12;
const MULTI_INSERT_TUPLE_BYTES = 7;

/** Applies a heap2 record to one of its blocks. */
export function redoHeap2(page: Buffer, record: WalRecord, block: BlockReference): void {
  switch (record.info & HEAP_OP_MASK) {
    case Heap2Info.pruneOnAccess:
    case Heap2Info.pruneVacuumScan:
    case Heap2Info.pruneVacuumCleanup:
      pruneAndFreeze(page, record, block);
      return;
    case Heap2Info.visible:
      if (block.id === 0) setVisible(page, record);
      else setPageFlag(page, PageFlag.allVisible, true);
      return;
    case Heap2Info.multiInsert:
      if (block.relation.fork === Fork.vm)
        clearOnPage(page, record, block, requiredBlock(record, 0).block, VM_ALL_BITS);
      else multiInsert(page, record, block);
      return;
    case Heap2Info.lockUpdated:
      if (block.relation.fork === Fork.vm)
        clearOnPage(page, record, block, requiredBlock(record, 0).block, VM_ALL_FROZEN);
      else lockUpdated(page, record);
      return;
    default:
      throw new DamagedPage('this operation has no blocks');
  }
}

/**
 * xl_heap_prune: reason u8, flags u8. Block data, each part present when its flag is set:
 *
 *   freeze plans     count u16, pad u16, then per plan: xmax u32, infomask2 u16, infomask u16, flags u8, pad u8, rows u16
 *   redirections     count u16, then pairs (from u16, to u16)
 *   dead items       count u16, then offset numbers u16
 *   now unused       count u16, then offset numbers u16
 *   and last the offset numbers of the rows to freeze, plan after plan
 */
function pruneAndFreeze(page: Buffer, record: WalRecord, block: BlockReference): void {
  const flags = u8(record.mainData, 1);
  const { data } = block;
  let from = 0;
  let plans = 0;
  const plansAt = 4;
  if (flags & PruneFlag.freezePlans) {
    plans = u16(data, 0);
    from = plansAt + plans * FREEZE_PLAN_BYTES;
  }
  let changed = false;
  if (flags & PruneFlag.redirections) {
    const count = u16(data, from);
    for (let i = 0, at = from + 2; i < count; i++, at += 4)
      setItemState(page, u16(data, at), ItemFlag.redirect, u16(data, at + 2));
    from += 2 + count * 4;
    changed ||= count > 0;
  }
  for (const [flag, state] of ITEM_LISTS) {
    if ((flags & flag) === 0) continue;
    const count = u16(data, from);
    for (let i = 0, at = from + 2; i < count; i++, at += 2) setItemState(page, u16(data, at), state, 0);
    from += 2 + count * 2;
    changed ||= count > 0;
  }
  if (changed) {
    if (flags & PruneFlag.cleanupLock) repairFragmentation(page);
    else truncateLinePointers(page);
  }
  for (let p = 0, at = plansAt; p < plans; p++, at += FREEZE_PLAN_BYTES) {
    const rows = u16(data, at + 10);
    for (let i = 0; i < rows; i++, from += 2) freezeRow(page, u16(data, from), data, at);
  }
  if (from !== data.length) throw new DamagedPage(`${data.length - from} bytes after the last frozen row`);
  setPageLsn(page, record.endLsn);
}

const ITEM_LISTS = [
  [PruneFlag.deadItems, ItemFlag.dead],
  [PruneFlag.nowUnusedItems, ItemFlag.unused],
] as const;

function setItemState(page: Buffer, offnum: number, flags: number, redirectTo: number): void {
  linePointer(page, offnum);
  if (redirectTo > 0x7fff) throw new DamagedPage(`redirection to ${redirectTo}`);
  setLinePointer(page, offnum, redirectTo, flags, 0);
}

/** heap_execute_freeze_tuple with the plan that stands in `plans` at `plan`. */
function freezeRow(page: Buffer, offnum: number, plans: Buffer, plan: number): void {
  const at = tupleAt(page, offnum);
  const flags = plans[plan + 8]!;
  setXmax(page, at, u32(plans, plan));
  if (flags & FreezeFlag.xvacFrozen) setXvac(page, at, FROZEN_XID);
  if (flags & FreezeFlag.xvacInvalid) setXvac(page, at, 0);
  setInfomask(page, at, u16(plans, plan + 6));
  setInfomask2(page, at, u16(plans, plan + 4));
}

/** xl_heap_visible: conflict horizon u32, flags u8. Block 0 is the visibility map page, block 1 the heap page. */
function setVisible(page: Buffer, record: WalRecord): void {
  const flags = u8(record.mainData, 4) & VM_ALL_BITS;
  const heapBlock = requiredBlock(record, 1).block;
  if (pageIsNew(page)) initPage(page, 0);
  if (getVmBits(page, heapBlock) === flags) return;
  setVmBits(page, heapBlock, flags);
  setPageLsn(page, record.endLsn);
}

/**
 * xl_heap_multi_insert: flags u8, pad u8, count u16, offset numbers u16 (absent when the page is made from nothing). Block data per
 * row, each on an even position: length u16, infomask2 u16, infomask u16, hoff u8, then the row.
 */
function multiInsert(page: Buffer, record: WalRecord, block: BlockReference): void {
  const main = record.mainData;
  const flags = u8(main, 0);
  const count = u16(main, 2);
  const fromNothing = (record.info & HEAP_INIT_PAGE) !== 0;
  const { data } = block;
  if (fromNothing) initPage(page, 0);
  let from = 0;
  for (let i = 0; i < count; i++) {
    const offnum = fromNothing ? i + 1 : u16(main, 4 + i * 2);
    from += from & 1;
    const length = u16(data, from);
    const start = from + MULTI_INSERT_TUPLE_BYTES;
    if (!(length <= MAX_TUPLE_BYTES && start + length <= data.length))
      throw new DamagedPage(`row of ${length} bytes`);
    const at = reserveHeapItem(page, offnum, TUPLE_HEADER_BYTES + length);
    writeTupleHeader(page, at, {
      xmin: record.xid,
      xmax: 0,
      block: block.block,
      offnum,
      infomask2: u16(data, from + 2),
      infomask: u16(data, from + 4),
      dataOffset: data[from + 6]!,
    });
    data.copy(page, at + TUPLE_HEADER_BYTES, start, start + length);
    from = start + length;
  }
  if (from !== data.length) throw new DamagedPage(`${data.length - from} bytes after the last row`);
  if (flags & InsertFlag.allVisibleCleared) setPageFlag(page, PageFlag.allVisible, false);
  if (flags & InsertFlag.allFrozenSet) setPageFlag(page, PageFlag.allVisible, true);
  setPageLsn(page, record.endLsn);
}

/** xl_heap_lock_updated: xmax u32, offset number u16, infobits u8, flags u8. */
function lockUpdated(page: Buffer, record: WalRecord): void {
  const main = record.mainData;
  const at = tupleAt(page, u16(main, 4));
  setXmaxState(page, at, u8(main, 6));
  setXmax(page, at, u32(main, 0));
  setPageLsn(page, record.endLsn);
}
