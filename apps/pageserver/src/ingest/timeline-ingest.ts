/**
 * Applies WAL records to a timeline's store, in order, one at a time. Nearly every record is applied at once; one that
 * needs something read first (the size of a fork not met before, the pages of a database to copy) gives a promise, and the
 * next record must wait for it.
 *
 * A block at or beyond its fork's size makes the fork grow to hold it: blocks skipped on the way are pages of zeros, and
 * the new block starts from zeros whatever an earlier life of the file had there.
 */
import {
  UnsupportedWal,
  advanceCheckpoint,
  decodeCheckpointState,
  effectsOf,
  encodeCheckpointState,
  rmgrName,
} from '@coppice/postgres';
import type { CheckpointState, Effect, WalRecord } from '@coppice/postgres';
import { CoppiceError } from '@coppice/service-kit';
import { CHECKPOINT_KEY, formatLsn, keyOf } from '@coppice/vocabulary';
import type { LsnNumber } from '@coppice/vocabulary';
import { applyEffect } from './apply-effect';
import { TOMBSTONE_VALUE, blockValue } from './block-value';
import { ForkSizes } from './fork-sizes';
import type { ForkSize } from './fork-sizes';
import type { IngestTarget } from './ingest-target';
import { SlruSizes } from './slru-sizes';

/** Most pages of zeros that one record may imply: a hash index of 64 GiB doubles in steps of this. */
const MAX_GAP_BLOCKS = 2 ** 20;

export class TimelineIngest {
  readonly target: IngestTarget;
  readonly forks: ForkSizes;
  readonly slrus: SlruSizes;
  #checkpoint: CheckpointState;

  private constructor(target: IngestTarget, checkpoint: CheckpointState) {
    this.target = target;
    this.forks = new ForkSizes(target);
    this.slrus = new SlruSizes(target);
    this.#checkpoint = checkpoint;
  }

  /** Ready to apply the record that follows position `lsn`. */
  static async start(target: IngestTarget, lsn: LsnNumber): Promise<TimelineIngest> {
    const bytes = await target.read(CHECKPOINT_KEY, lsn);
    if (!bytes) {
      throw new CoppiceError(
        'Corrupt',
        'no-checkpoint',
        `the timeline has no checkpoint state at ${formatLsn(lsn)}`,
        {
          remedy: 'Its template was not imported completely: import it again.',
        },
      );
    }
    return new TimelineIngest(target, decodeCheckpointState(bytes));
  }

  /** The state after the last record. */
  get checkpoint(): CheckpointState {
    return this.#checkpoint;
  }

  /**
   * Applies one record; await what is returned before the next. Throws `CorruptWal` or `UnsupportedWal`: the record has not
   * been finished then, and ingest of the timeline ends before it.
   */
  apply(record: WalRecord): void | Promise<void> {
    const effects = effectsOf(record);
    const checkpoint = advanceCheckpoint(this.#checkpoint, record);
    for (const { relation } of record.blocks) {
      if (this.forks.peek(relation) === undefined) return this.#applyLater(record, effects, checkpoint);
    }
    this.#putBlocks(record);
    this.#setCheckpoint(checkpoint, record);
    for (let index = 0; index < effects.length; index++) {
      const pending = applyEffect(this, effects[index]!, record);
      if (pending) return this.#finishLater(record, effects, index + 1, pending);
    }
    this.#finish(record);
  }

  async #applyLater(
    record: WalRecord,
    effects: readonly Effect[],
    checkpoint: CheckpointState,
  ): Promise<void> {
    for (const { relation } of record.blocks) await this.forks.load(relation, record.lsn);
    this.#putBlocks(record);
    this.#setCheckpoint(checkpoint, record);
    for (const effect of effects) await applyEffect(this, effect, record);
    this.#finish(record);
  }

  async #finishLater(
    record: WalRecord,
    effects: readonly Effect[],
    from: number,
    pending: Promise<void>,
  ): Promise<void> {
    await pending;
    for (const effect of effects.slice(from)) await applyEffect(this, effect, record);
    this.#finish(record);
  }

  #putBlocks(record: WalRecord): void {
    for (const block of record.blocks) {
      const size = this.forks.peek(block.relation)!;
      const value = blockValue(record, block, block.block < size.blocksBefore);
      if (!value) continue;
      if (block.block >= size.blocks) this.#grow(size, block.block, record);
      this.target.put(keyOf(size.blockPrefix, block.block), record.endLsn, value);
    }
  }

  #grow(size: ForkSize, block: number, record: WalRecord): void {
    if (block - size.blocks > MAX_GAP_BLOCKS) {
      throw new UnsupportedWal(
        record.lsn,
        `${rmgrName(record.rmgr)} record writes block ${block} of a fork of ${size.blocks} blocks; more than ${MAX_GAP_BLOCKS} blocks of zeros are not filled in. Restore to a time before it.`,
      );
    }
    for (let gap = size.blocks; gap < block; gap++) {
      if (isWritten(record, size, gap)) continue;
      this.target.put(keyOf(size.blockPrefix, gap), record.endLsn, TOMBSTONE_VALUE);
    }
    this.forks.resize(size, block + 1);
  }

  #setCheckpoint(checkpoint: CheckpointState, record: WalRecord): void {
    if (checkpoint === this.#checkpoint) return;
    this.#checkpoint = checkpoint;
    this.target.put(CHECKPOINT_KEY, record.endLsn, {
      kind: 'image',
      bytes: encodeCheckpointState(checkpoint),
    });
  }

  #finish(record: WalRecord): void {
    this.forks.store(record.endLsn);
    this.slrus.store(record.endLsn);
    this.target.finishRecord(record);
  }
}

function isWritten(record: WalRecord, size: ForkSize, block: number): boolean {
  return (
    record.blocks.length > 1 &&
    record.blocks.some(
      (b) =>
        b.block === block &&
        b.relation.relation === size.fork.relation &&
        b.relation.fork === size.fork.fork &&
        b.relation.database === size.fork.database &&
        b.relation.tablespace === size.fork.tablespace,
    )
  );
}
