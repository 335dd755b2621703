/**
 * What ingest, import and image making need of a timeline's store. One record is applied as
 *
 *   put, put, …, resize    all at the record's endLsn
 *   finishRecord           from here on a reader may wait for, and see, that position
 *
 * Promises of the caller: records come in WAL order; one record puts at most one value per key; every value of a record
 * has that record's `endLsn`. After a restart records are applied again from the durable position on and then put the
 * same values.
 *
 * An image of no bytes is a tombstone: from that version on the key does not exist. A block of a relation, or a page of an
 * SLRU segment, that lies within its size and does not exist is a page of zeros.
 */
import type { LsnNumber, PageKey } from '@coppice/vocabulary';
import type { PageValue, WalRecord } from '@coppice/postgres';

/** Reading a timeline: what is seen at a position, through its ancestors. */
export interface TimelineView {
  /**
   * The newest value of a non-page key at or below `lsn`; undefined when there is none or it is a tombstone. Sees what was
   * put up to this moment, also by a record that is not finished.
   */
  read(key: PageKey, lsn: LsnNumber): Promise<Buffer | undefined>;
  /** The same of many keys at once, in their order. */
  readAll(keys: readonly PageKey[], lsn: LsnNumber): Promise<(Buffer | undefined)[]>;
  /**
   * All non-page keys in `[from, to)` that exist at `lsn`, in ascending order, with their values. Lazy: a caller that
   * stops after the first key has not paid for the rest. Must tolerate puts while it is being read.
   */
  scan(from: PageKey, to: PageKey, lsn: LsnNumber): AsyncIterable<readonly [PageKey, Buffer]>;
  /** A page, rebuilt as of `lsn`; undefined when it does not exist. The buffer belongs to the caller. */
  readPage(key: PageKey, lsn: LsnNumber): Promise<Buffer | undefined>;
}

/** Where the last applied record starts and ends. */
export type RecordSpan = Pick<WalRecord, 'lsn' | 'endLsn'>;

export interface IngestTarget extends TimelineView {
  /** Adds one version. Takes ownership of the bytes; they may share memory with the record's. */
  put(key: PageKey, lsn: LsnNumber, value: PageValue): void;
  /** The record is complete. Its start is worth keeping: the next record must point back to it. */
  finishRecord(record: RecordSpan): void;
  /** The timeline's logical size changes by this many blocks. */
  resize(deltaBlocks: number): void;
  /**
   * Resolves when more may be put. Asked between the parts of a record that puts very much (a database copied as files).
   * What was put so far may be written out meanwhile, but the durable position stays before the unfinished record.
   */
  room(): Promise<void>;
}
