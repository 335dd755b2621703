/**
 * Picks from a replay one block of each variety of record, as fixtures for tests that run without a server. The record
 * carries the page afterwards, so a fixture is the page before and the record:
 *
 *   gzip of:  count u32 │ per fixture: name length u8, name │ end LSN u64 │ block id u8 │ record length u32, record │ page 8192
 */
import { gzipSync } from 'node:zlib';
import { ByteWriter } from '@coppice/bytes';
import {
  type BlockReference,
  HEAP_OP_MASK,
  Heap2Info,
  HeapInfo,
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

export class RedoFixtures {
  readonly #chosen = new Map<string, Fixture>();

  /** For `onBlock` of a replay. Keeps the smallest of each variety. */
  readonly consider = (record: WalRecord, block: BlockReference, before: Buffer): void => {
    if (WITHOUT.has(record.rmgr) || block.image === undefined || block.image.apply) return;
    const name = varietyOf(record, block);
    const known = this.#chosen.get(name);
    if (known && known.record.bytes.length <= record.bytes.length) return;
    this.#chosen.set(name, { record, block, before: Buffer.from(before) });
  };

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

/** Records of one variety take the same way through redo. */
function varietyOf(record: WalRecord, block: BlockReference): string {
  const parts = [opName(record), `block ${block.id}`];
  if (block.relation.fork === Fork.vm) parts.push('vm');
  const op = record.info & HEAP_OP_MASK;
  const isUpdate = record.rmgr === Rmgr.heap && (op === HeapInfo.update || op === HeapInfo.hotUpdate);
  const isPrune =
    record.rmgr === Rmgr.heap2 && op >= Heap2Info.pruneOnAccess && op <= Heap2Info.pruneVacuumCleanup;
  if (isUpdate) parts.push(`flags 0x${record.mainData[7]!.toString(16)}`, `blocks ${record.blocks.length}`);
  if (isPrune) parts.push(`flags 0x${(record.mainData[1]! & 0xf4).toString(16)}`);
  return parts.join(', ');
}
