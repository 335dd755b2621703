/**
 * Heap records that clear visibility map bits. Format: src/include/access/heapam_xlog.h; the main data starts
 *
 *   insert                offset u16 │ flags u8
 *   delete                xmax u32 │ offset u16 │ infobits u8 │ flags u8
 *   update, hot update    xmax u32 │ offset u16 │ infobits u8 │ flags u8 │ new xmax u32 │ new offset u16
 *   lock, lock updated    xmax u32 │ offset u16 │ infobits u8 │ flags u8
 *   multi insert          flags u8
 *   rewrite mapping       xid u32 │ database u32 │ relation u32 │ (4) │ file offset i64 │ count u32 │ (4) │ start lsn u64 │
 *                         mappings, 36 bytes each
 *
 * Servers up to 17.10 do not name the visibility map page in these records, later ones do: then it is an ordinary block
 * reference, and redo clears the bits.
 */
import { Fork } from '@coppice/vocabulary';
import { clearVisibility } from '../redo/small-records';
import type { ClearedVisibility } from '../redo/small-records';
import { VM_ALL_BITS, VM_ALL_FROZEN, vmPageOf } from '../redo/visibility-map';
import type { BlockReference, WalRecord } from '../wal/record';
import { HEAP_OP_MASK, Heap2Info, HeapInfo } from '../wal/rmgr';
import { NO_EFFECTS } from './effects';
import type { Effect } from './effects';
import { corruptRecord, readMainData } from './main-data';

/** The meaning of bit 0 of the flags: the page was all visible (insert, delete, update's old page) or all frozen (lock). */
const CLEARED = 1;
/** Bit 1 of an update's flags: the new page was all visible. */
const NEW_CLEARED = 2;

const OLD_BLOCK_ID = 1;
const MAPPING_BYTES = 36;

export function heapEffects(record: WalRecord): readonly Effect[] {
  switch (record.info & HEAP_OP_MASK) {
    case HeapInfo.insert:
      return flagsAt(record, 2) & CLEARED ? clearOne(record, VM_ALL_BITS) : NO_EFFECTS;
    case HeapInfo.delete:
      return flagsAt(record, 7) & CLEARED ? clearOne(record, VM_ALL_BITS) : NO_EFFECTS;
    case HeapInfo.lock:
      return flagsAt(record, 7) & CLEARED ? clearOne(record, VM_ALL_FROZEN) : NO_EFFECTS;
    case HeapInfo.update:
    case HeapInfo.hotUpdate: {
      const flags = flagsAt(record, 7);
      return flags & (CLEARED | NEW_CLEARED) ? clearUpdated(record, flags) : NO_EFFECTS;
    }
    default:
      return NO_EFFECTS;
  }
}

export function heap2Effects(record: WalRecord): readonly Effect[] {
  switch (record.info & HEAP_OP_MASK) {
    case Heap2Info.multiInsert:
      return flagsAt(record, 0) & CLEARED ? clearOne(record, VM_ALL_BITS) : NO_EFFECTS;
    case Heap2Info.lockUpdated:
      return flagsAt(record, 7) & CLEARED ? clearOne(record, VM_ALL_FROZEN) : NO_EFFECTS;
    case Heap2Info.rewrite:
      return rewriteEffects(record);
    default:
      return NO_EFFECTS;
  }
}

function flagsAt(record: WalRecord, offset: number): number {
  const flags = record.mainData[offset];
  if (flags === undefined)
    throw corruptRecord(record, `its main data of ${record.mainData.length} bytes has no flags`);
  return flags;
}

function clearOne(record: WalRecord, flags: number): readonly Effect[] {
  if (namesVisibilityMap(record)) return NO_EFFECTS;
  return [clearEffect(heapBlock(record, 0), [{ heapBlock: heapBlock(record, 0).block, flags }])];
}

function clearUpdated(record: WalRecord, flags: number): readonly Effect[] {
  if (namesVisibilityMap(record)) return NO_EFFECTS;
  const newBlock = heapBlock(record, 0);
  const oldBlock = record.blocks.find((b) => b.id === OLD_BLOCK_ID) ?? newBlock;
  const cleared: ClearedVisibility[] = [];
  if (flags & CLEARED) cleared.push({ heapBlock: oldBlock.block, flags: VM_ALL_BITS });
  if (flags & NEW_CLEARED && !(flags & CLEARED && newBlock === oldBlock)) {
    cleared.push({ heapBlock: newBlock.block, flags: VM_ALL_BITS });
  }
  const onOnePage = cleared.every((c) => vmPageOf(c.heapBlock) === vmPageOf(cleared[0]!.heapBlock));
  return onOnePage ? [clearEffect(newBlock, cleared)] : cleared.map((c) => clearEffect(newBlock, [c]));
}

function namesVisibilityMap(record: WalRecord): boolean {
  return record.blocks.some((b) => b.relation.fork === Fork.vm);
}

function heapBlock(record: WalRecord, id: number): BlockReference {
  const block = record.blocks.find((b) => b.id === id);
  if (!block) throw corruptRecord(record, `it has no block reference ${id}`);
  return block;
}

function clearEffect(heap: BlockReference, cleared: readonly ClearedVisibility[]): Effect {
  return {
    kind: 'change-page',
    fork: { ...heap.relation, fork: Fork.vm },
    block: vmPageOf(cleared[0]!.heapBlock),
    value: clearVisibility(cleared),
  };
}

/** Where rows of a catalog went when it was rewritten: logical decoding reads it from a file that only this record names. */
function rewriteEffects(record: WalRecord): readonly Effect[] {
  return readMainData(record, (reader) => {
    const xid = reader.u32le();
    const database = reader.u32le();
    const relation = reader.u32le();
    reader.skip(4);
    const offset = reader.i64le();
    const count = reader.u32le();
    reader.skip(4);
    const start = reader.u64le();
    const content = reader.take(count * MAPPING_BYTES);
    if (offset < 0n || offset > 0xffffffffn) throw corruptRecord(record, `mapping file offset ${offset}`);
    const hex = (n: number): string => n.toString(16);
    const half = (n: bigint): string => n.toString(16).toUpperCase();
    const name = `map-${hex(database)}-${hex(relation)}-${half(start >> 32n)}_${half(start & 0xffffffffn)}-${hex(xid)}-${hex(record.xid)}`;
    return [{ kind: 'append-file', path: `pg_logical/mappings/${name}`, offset: Number(offset), content }];
  });
}
