import { encodeCheckpointState, Rmgr, XlogInfo } from '@coppice/postgres';
import type { BlockImage, BlockReference, CheckpointState, WalRecord } from '@coppice/postgres';
import { ByteWriter } from '@coppice/bytes';
import { BLOCK_SIZE, CHECKPOINT_KEY, Fork } from '@coppice/vocabulary';
import type { RelationFork } from '@coppice/vocabulary';
import { TimelineIngest } from '../timeline-ingest';
import { MemoryTarget } from './memory-target';

export const START = 0x1000;

export const STATE: CheckpointState = {
  systemIdentifier: 7n,
  nextXidEpoch: 0,
  nextXid: 800,
  nextOid: 16384,
  nextMulti: 1,
  nextMultiOffset: 0,
  oldestXid: 722,
  oldestXidDb: 1,
  oldestMulti: 1,
  oldestMultiDb: 1,
  oldestCommitTsXid: 0,
  newestCommitTsXid: 0,
  walLevel: 1,
  recordLsn: 0xf00,
  recordEndLsn: START,
};

/** A timeline that begins at `START`, and a way to feed it records one after the other. */
export class IngestBench {
  readonly target = new MemoryTarget();
  #ingest: TimelineIngest | undefined;
  #lsn = START;

  /** End of the last record. */
  get lsn(): number {
    return this.#lsn;
  }

  async begin(state: CheckpointState = STATE): Promise<TimelineIngest> {
    this.target.put(CHECKPOINT_KEY, START, { kind: 'image', bytes: encodeCheckpointState(state) });
    this.#ingest = await TimelineIngest.start(this.target, START);
    return this.#ingest;
  }

  /** Applies a record of the given content; says whether that was done at once. */
  async apply(fields: Partial<WalRecord> & Pick<WalRecord, 'rmgr' | 'info'>): Promise<'at once' | 'later'> {
    const record: WalRecord = {
      lsn: this.#lsn,
      endLsn: this.#lsn + 0x40,
      bytes: Buffer.from('record'),
      xid: 0,
      prev: this.#lsn - 0x40,
      blocks: [],
      mainData: Buffer.alloc(8),
      origin: 0,
      toplevelXid: 0,
      ...fields,
    };
    const pending = this.#ingest!.apply(record);
    await pending;
    this.#lsn = record.endLsn;
    return pending ? 'later' : 'at once';
  }
}

export const TABLE: RelationFork = { tablespace: 1663, database: 5, relation: 16384, fork: Fork.main };

export function blockRef(block: number, more: Partial<BlockReference> = {}): BlockReference {
  return { id: 0, relation: TABLE, block, willInit: false, image: undefined, data: Buffer.alloc(0), ...more };
}

export function bytesOf(write: (writer: ByteWriter) => ByteWriter): Buffer {
  return Buffer.from(write(new ByteWriter()).finish());
}

/** An image of a page all of whose bytes are the same. */
export const fullImage = (fill: number, apply = true): BlockImage => ({
  bytes: Buffer.alloc(BLOCK_SIZE, fill),
  holeOffset: 0,
  holeLength: 0,
  apply,
  compression: 'none',
});

const SCRATCH: RelationFork = { tablespace: 1663, database: 1, relation: 1, fork: Fork.fsm };
/** A record that makes a whole page, and one that nobody looks at: images of two pages are kept as pages. */
export const pageImage = (relation: RelationFork, block: number, fill: number) => ({
  rmgr: Rmgr.xlog,
  info: XlogInfo.fpi,
  blocks: [
    blockRef(block, { relation, image: fullImage(fill) }),
    blockRef(0, { id: 1, relation: SCRATCH, image: fullImage(0) }),
  ],
});
