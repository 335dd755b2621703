/**
 * Redo of B-tree indexes (btree_redo in src/backend/access/nbtree/nbtxlog.c; formats in src/include/access/nbtxlog.h).
 * Which block is what, by id:
 *
 *   insert            0 the page, 1 the child whose split this finishes, 2 metadata
 *   split             0 left page, 1 new right page, 2 the page right of it, 3 the child whose split this finishes
 *   dedup, delete, vacuum   0 the leaf
 *   mark half-dead    0 the leaf, 1 the parent that loses a downlink
 *   unlink            0 the page, 1 its left sibling, 2 its right sibling, 3 the leaf below it, 4 metadata
 *   new root          0 the root, 1 the left child, 2 metadata
 *   cleanup           0 metadata
 */
import { BLOCK_SIZE } from '@coppice/vocabulary';
import type { BlockReference, WalRecord } from '../wal/record';
import { BtreeInfo, RMGR_INFO_MASK } from '../wal/rmgr';
import { requiredBlock } from './heap';
import { deduplicate, removePostings, swapPosting } from './nbtree-posting';
import {
  BtreeFlag,
  HIGH_KEY,
  INDEX_TUPLE_HEADER_BYTES,
  NO_PAGE,
  alignedTupleSize,
  getDownlink,
  getFlags,
  getNext,
  initBtreePage,
  setCycleId,
  setDownlink,
  setFlags,
  setLevel,
  setNext,
  setPrev,
  writeTopParentTuple,
} from './nbtree-tuple';
import {
  PAGE_HEADER_BYTES,
  itemLength,
  itemOffset,
  maxOffset,
  must,
  pageSpecial,
  setPageLower,
  setPageLsn,
  setPageUpper,
  storedItem,
} from './page-header';
import { deleteIndexItem, deleteIndexItems, insertItem } from './page-items';
import { DamagedPage, putU32, u16, u32 } from './little-endian';

const MAGIC = 0x053162;
const META_BYTES = 48;
const MAX_INDEX_TUPLES = 408;

const leftHalf = Buffer.alloc(BLOCK_SIZE);
const newItem = Buffer.alloc(BLOCK_SIZE);
const itemStarts = new Uint16Array(MAX_INDEX_TUPLES);

/** Applies a B-tree record to one of its blocks. */
export function redoBtree(page: Buffer, record: WalRecord, block: BlockReference): void {
  const op = record.info & RMGR_INFO_MASK;
  switch (op) {
    case BtreeInfo.insertLeaf:
    case BtreeInfo.insertUpper:
    case BtreeInfo.insertMeta:
    case BtreeInfo.insertPost:
      if (block.id === 0) insert(page, record, block, op === BtreeInfo.insertPost);
      else if (block.id === 1) clearIncompleteSplit(page);
      else restoreMeta(page, block);
      break;
    case BtreeInfo.splitL:
    case BtreeInfo.splitR:
      split(page, record, block, op === BtreeInfo.splitL);
      break;
    case BtreeInfo.dedup:
      deduplicate(page, block.data, u16(record.mainData, 0));
      break;
    case BtreeInfo.delete:
      removeTuples(page, block, u16(record.mainData, 4), u16(record.mainData, 6));
      break;
    case BtreeInfo.vacuum:
      removeTuples(page, block, u16(record.mainData, 0), u16(record.mainData, 2));
      break;
    case BtreeInfo.markPageHalfdead:
      if (block.id === 0) initHalfDead(page, record.mainData, 8);
      else removeDownlink(page, u16(record.mainData, 0));
      break;
    case BtreeInfo.unlinkPage:
    case BtreeInfo.unlinkPageMeta:
      unlink(page, record, block);
      break;
    case BtreeInfo.newRoot:
      newRoot(page, record, block);
      break;
    case BtreeInfo.metaCleanup:
      restoreMeta(page, block);
      break;
    default:
      throw new DamagedPage('this operation has no blocks');
  }
  setPageLsn(page, record.endLsn);
}

/** xl_btree_insert: offset number u16. Block data: [place in the posting list before it u16] the tuple. */
function insert(page: Buffer, record: WalRecord, block: BlockReference, posting: boolean): void {
  const offnum = u16(record.mainData, 0);
  const { data } = block;
  if (!posting) {
    insertItem(page, offnum, data, 0, data.length);
    return;
  }
  const size = data.length - 2;
  if (!(size >= INDEX_TUPLE_HEADER_BYTES && size <= newItem.length))
    throw new DamagedPage(`index tuple of ${size} bytes`);
  data.copy(newItem, 0, 2);
  swapPosting(page, tupleOn(page, offnum - 1), newItem, 0, u16(data, 0));
  insertItem(page, offnum, newItem, 0, size);
}

function tupleOn(page: Buffer, offnum: number): { at: number; end: number } {
  const pointer = storedItem(page, offnum, INDEX_TUPLE_HEADER_BYTES);
  return { at: itemOffset(pointer), end: itemOffset(pointer) + itemLength(pointer) };
}

function clearIncompleteSplit(page: Buffer): void {
  setFlags(page, getFlags(page) & ~BtreeFlag.incompleteSplit);
}

/** xl_btree_split: level u32, first offset number that went right u16, the new tuple's offset number u16, posting place u16. */
function split(page: Buffer, record: WalRecord, block: BlockReference, newItemOnLeft: boolean): void {
  const level = u32(record.mainData, 0);
  const rightBlock = requiredBlock(record, 1).block;
  switch (block.id) {
    case 0:
      splitLeftPage(page, record, block, newItemOnLeft);
      setFlags(page, BtreeFlag.incompleteSplit | (level === 0 ? BtreeFlag.leaf : 0));
      setNext(page, rightBlock);
      setCycleId(page, 0);
      return;
    case 1:
      initBtreePage(page);
      setPrev(page, requiredBlock(record, 0).block);
      setNext(page, record.blocks.find((b) => b.id === 2)?.block ?? NO_PAGE);
      setLevel(page, level);
      setFlags(page, level === 0 ? BtreeFlag.leaf : 0);
      restorePage(page, block.data);
      return;
    case 2:
      setPrev(page, rightBlock);
      return;
    default:
      clearIncompleteSplit(page);
  }
}

/** Rebuilds the left half in item order, as the server did. Block data: [the new tuple] the left page's high key. */
function splitLeftPage(page: Buffer, record: WalRecord, block: BlockReference, newItemOnLeft: boolean): void {
  const firstRight = u16(record.mainData, 4);
  const newOffnum = u16(record.mainData, 6);
  const posting = u16(record.mainData, 8);
  const { data } = block;
  let from = 0;
  let newSize = 0;
  if (newItemOnLeft || posting !== 0) {
    newSize = alignedTupleSize(data, 0, data.length);
    data.copy(newItem, 0, 0, newSize);
    from = newSize;
    if (posting !== 0) swapPosting(page, tupleOn(page, newOffnum - 1), newItem, 0, posting);
  }
  const keySize = alignedTupleSize(data, from, data.length);
  if (from + keySize !== data.length)
    throw new DamagedPage(`${data.length - from - keySize} bytes after the high key`);

  initBtreePage(leftHalf);
  page.copy(leftHalf, pageSpecial(page), pageSpecial(page));
  insertItem(leftHalf, HIGH_KEY, data, from, keySize);
  const firstData = getNext(page) === NO_PAGE ? HIGH_KEY : HIGH_KEY + 1;
  if (firstRight > maxOffset(page) + 1)
    throw new DamagedPage(`page of ${maxOffset(page)} split at ${firstRight}`);
  let offnum = firstData;
  for (; offnum < firstRight; offnum++) {
    if (newItemOnLeft && offnum === newOffnum)
      insertItem(leftHalf, maxOffset(leftHalf) + 1, newItem, 0, newSize);
    const pointer = storedItem(page, offnum, INDEX_TUPLE_HEADER_BYTES);
    insertItem(leftHalf, maxOffset(leftHalf) + 1, page, itemOffset(pointer), itemLength(pointer));
  }
  if (newItemOnLeft && offnum === newOffnum)
    insertItem(leftHalf, maxOffset(leftHalf) + 1, newItem, 0, newSize);
  leftHalf.copy(page);
}

/** `_bt_restore_page`: `data` is the tuple space of a page, so the tuple of the highest offset number comes first. */
function restorePage(page: Buffer, data: Buffer): void {
  let count = 0;
  for (let at = 0; at < data.length; count++) {
    must(count < MAX_INDEX_TUPLES, 'too many index tuples for a page');
    itemStarts[count] = at;
    at += alignedTupleSize(data, at, data.length);
  }
  for (let i = count - 1; i >= 0; i--) {
    const end = i === count - 1 ? data.length : itemStarts[i + 1]!;
    insertItem(page, count - i, data, itemStarts[i]!, end - itemStarts[i]!);
  }
}

/** xl_btree_metadata: version, root, level, fastroot, fastlevel, deleted pages (u32 each), allequalimage u8. */
function restoreMeta(page: Buffer, block: BlockReference): void {
  const { data } = block;
  if (data.length < 25) throw new DamagedPage(`metadata of ${data.length} bytes`);
  initBtreePage(page);
  const meta = PAGE_HEADER_BYTES;
  putU32(page, meta, MAGIC);
  data.copy(page, meta + 4, 0, 24);
  page.writeDoubleLE(-1, meta + 32);
  page[meta + 40] = data[24]!;
  setFlags(page, BtreeFlag.meta);
  setPageLower(page, meta + META_BYTES);
}

/** Block data of delete and vacuum: offset numbers to delete u16, then what `removePostings` reads. */
function removeTuples(page: Buffer, block: BlockReference, deleted: number, updated: number): void {
  if (updated > 0) removePostings(page, block.data, deleted * 2, updated);
  if (deleted > 0) deleteIndexItems(page, block.data, 0, deleted);
  setFlags(page, getFlags(page) & ~BtreeFlag.hasGarbage);
}

/** The parent: the tuple at `offnum` takes over the downlink of the one after it, which goes. */
function removeDownlink(page: Buffer, offnum: number): void {
  const right = tupleOn(page, offnum + 1);
  setDownlink(page, tupleOn(page, offnum).at, getDownlink(page, right.at));
  deleteIndexItem(page, offnum + 1);
}

/** A half-dead leaf, made from three block numbers at `at`: left sibling, right sibling, top parent (u32 each). */
function initHalfDead(page: Buffer, main: Buffer, at: number): void {
  initBtreePage(page);
  setPrev(page, u32(main, at));
  setNext(page, u32(main, at + 4));
  setFlags(page, BtreeFlag.halfDead | BtreeFlag.leaf);
  writeTopParentTuple(newItem, 0, u32(main, at + 8));
  insertItem(page, HIGH_KEY, newItem, 0, INDEX_TUPLE_HEADER_BYTES);
}

/**
 * xl_btree_unlink_page: left sibling u32, right sibling u32, level u32, pad u32, safe xid u64, then the leaf's left sibling,
 * right sibling and top parent (u32 each).
 */
function unlink(page: Buffer, record: WalRecord, block: BlockReference): void {
  const main = record.mainData;
  const left = u32(main, 0);
  const right = u32(main, 4);
  switch (block.id) {
    case 0: {
      const level = u32(main, 8);
      initBtreePage(page);
      setPrev(page, left);
      setNext(page, right);
      setLevel(page, level);
      setFlags(page, BtreeFlag.deleted | BtreeFlag.hasFullXid | (level === 0 ? BtreeFlag.leaf : 0));
      if (main.length < 24) throw new DamagedPage(`record of ${main.length} bytes`);
      main.copy(page, PAGE_HEADER_BYTES, 16, 24);
      setPageLower(page, PAGE_HEADER_BYTES + 8);
      setPageUpper(page, pageSpecial(page));
      return;
    }
    case 1:
      setNext(page, right);
      return;
    case 2:
      setPrev(page, left);
      return;
    case 3:
      initHalfDead(page, main, 24);
      return;
    default:
      restoreMeta(page, block);
  }
}

/** xl_btree_newroot: root block u32, level u32. Block data of the root: its two tuples, as `restorePage` reads them. */
function newRoot(page: Buffer, record: WalRecord, block: BlockReference): void {
  const level = u32(record.mainData, 4);
  if (block.id === 1) {
    clearIncompleteSplit(page);
    return;
  }
  if (block.id === 2) {
    restoreMeta(page, block);
    return;
  }
  initBtreePage(page);
  setFlags(page, BtreeFlag.root | (level === 0 ? BtreeFlag.leaf : 0));
  setLevel(page, level);
  if (level > 0) restorePage(page, block.data);
}
