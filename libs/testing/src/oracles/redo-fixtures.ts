/**
 * Picks from a replay two blocks of each variety of record, as fixtures for tests that run without a server. The record
 * carries the page afterwards, so a fixture is the page before and the record:
 *
 *   gzip of:  count u32 │ per fixture: name length u8, name │ end LSN u64 │ block id u8 │ record length u32, record │ page 8192
 */
import { gzipSync } from 'node:zlib';
import { ByteWriter } from '@coppice/bytes';
import {
  type BlockReference,
  BtreeInfo,
  HEAP_OP_MASK,
  Heap2Info,
  HeapInfo,
  RMGR_INFO_MASK,
  Rmgr,
  type WalRecord,
} from '@coppice/postgres';
import { Fork } from '@coppice/vocabulary';
import { opName } from './page-replay';

interface Fixture {
  readonly record: WalRecord;
  readonly block: BlockReference;
  readonly before: Buffer;
}

/** A redo of only an image says nothing, and images make fixtures large. */
const WITHOUT: ReadonlySet<number> = new Set([Rmgr.xlog, Rmgr.gin, Rmgr.spgist, Rmgr.hash, Rmgr.brin]);

/** Larger payloads than this are left out. */
const MAX_PAYLOAD = 1500;

export class RedoFixtures {
  /** By name; two of each variety: the smallest, and the one with the most to do. */
  readonly #chosen = new Map<string, Fixture>();

  /** For `onBlock` of a replay. */
  readonly consider = (record: WalRecord, block: BlockReference, before: Buffer): void => {
    if (WITHOUT.has(record.rmgr) || block.image === undefined || block.image.apply) return;
    const variety = varietyOf(record, block);
    const size = (r: WalRecord): number => r.bytes.length;
    this.#offer(`${variety}, small`, { record, block, before }, (known) => size(record) < size(known.record));
    if (payload(record) > MAX_PAYLOAD) return;
    this.#offer(
      `${variety}, large`,
      { record, block, before },
      (known) => payload(record) > payload(known.record),
    );
  };

  #offer(name: string, fixture: Fixture, isBetterThan: (known: Fixture) => boolean): void {
    const known = this.#chosen.get(name);
    if (known && !isBetterThan(known)) return;
    this.#chosen.set(name, { ...fixture, before: Buffer.from(fixture.before) });
  }

  get names(): string[] {
    return [...this.#chosen.keys()].sort();
  }

  /** The file's content. */
  pack(): Buffer {
    const writer = new ByteWriter(1 << 20).u32le(this.#chosen.size);
    for (const name of this.names) {
      const { record, block, before } = this.#chosen.get(name)!;
      const text = Buffer.from(name, 'utf8');
      writer.u8(text.length).raw(text).u64le(BigInt(record.endLsn)).u8(block.id);
      writer.u32le(record.bytes.length).raw(record.bytes).raw(before);
    }
    return gzipSync(writer.finish(), { level: 9 });
  }
}

function payload(record: WalRecord): number {
  return record.blocks.reduce((sum, block) => sum + block.data.length, record.mainData.length);
}

/** Records of one variety take the same way through redo. */
function varietyOf(record: WalRecord, block: BlockReference): string {
  const parts = [opName(record), `block ${block.id}`, ...detailsOf(record).map((n) => `0x${n.toString(16)}`)];
  if (block.relation.fork === Fork.vm) parts.push('vm');
  return parts.join(', ');
}

function detailsOf(record: WalRecord): number[] {
  const main = record.mainData;
  const op = record.info & HEAP_OP_MASK;
  if (record.rmgr === Rmgr.heap) {
    if (op === HeapInfo.update || op === HeapInfo.hotUpdate)
      return [record.blocks.length, main[7]!, main[6]!];
    return op === HeapInfo.delete || op === HeapInfo.lock ? [main[7]!, main[6]!] : [];
  }
  if (record.rmgr === Rmgr.heap2) {
    if (op >= Heap2Info.pruneOnAccess && op <= Heap2Info.pruneVacuumCleanup) return [main[1]! & 0xf4];
    return op === Heap2Info.lockUpdated ? [main[6]!] : [];
  }
  if (record.rmgr !== Rmgr.btree) return [];
  const btreeOp = record.info & RMGR_INFO_MASK;
  const isLeaf = record.mainData.length >= 4 && main.readUInt32LE(0) === 0 ? 1 : 0;
  if (btreeOp === BtreeInfo.splitL || btreeOp === BtreeInfo.splitR)
    return [isLeaf, main.readUInt16LE(8) === 0 ? 0 : 1];
  if (btreeOp === BtreeInfo.vacuum) return [main.readUInt16LE(2) === 0 ? 0 : 1];
  return btreeOp === BtreeInfo.delete ? [main.readUInt16LE(6) === 0 ? 0 : 1] : [];
}
