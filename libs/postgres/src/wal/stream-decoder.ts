/** WAL bytes in, at any split; whole, checked, decoded records out. record-framer.ts explains where records begin and end. */
import { type LsnNumber } from '@coppice/vocabulary';
import { CorruptWal } from './corrupt-wal';
import { decodeRecord } from './decode-record';
import type { WalRecord } from './record';
import { type FramerOptions, RecordFramer, type RecordSink } from './record-framer';
import { checkRecordCrc } from './record-crc';
import { HeaderField } from './record-header';
import { Rmgr, RMGR_INFO_MASK, XlogInfo } from './rmgr';

/** A record's buffer starts at most this large and grows with what arrives: its length is a claim of whoever wrote it. */
const FIRST_ALLOCATION = 1024 * 1024;

export class WalStreamDecoder {
  readonly #framer: RecordFramer;
  readonly #collector: RecordCollector;

  /**
   * `start` is the end of some record (a page boundary counts, and so does the first byte behind a page header); the
   * first byte pushed must be the one at `start`. The `prev` of the first record is not checked.
   */
  constructor(start: LsnNumber, options: FramerOptions = {}) {
    this.#collector = new RecordCollector(() => this.#framer.lostRecord);
    this.#framer = new RecordFramer(start, this.#collector, options);
  }

  /** Where the next pushed byte belongs. */
  get position(): LsnNumber {
    return this.#framer.position;
  }

  /** End of the last record handed out; where to start again after a restart. */
  get lastRecordEnd(): LsnNumber {
    return this.#framer.lastRecordEnd;
  }

  /** Whether zeros ended the WAL (only with `zeros: 'end'`). */
  get ended(): boolean {
    return this.#framer.ended;
  }

  /**
   * Takes the next bytes and calls `each` with every record that they complete, in order. Records may share memory with
   * `chunk`, which must not change afterwards. Throws `CorruptWal` after the records before the damage were handed
   * out, and then at every further call.
   */
  push(chunk: Uint8Array, each: (record: WalRecord) => void): void {
    this.#collector.each = each;
    this.#framer.push(asBuffer(chunk));
  }
}

/** Makes each record contiguous: a slice of the chunk when it lies there in one piece, else a buffer of its own. */
class RecordCollector implements RecordSink {
  each: (record: WalRecord) => void = () => undefined;
  readonly #lostRecord: () => LsnNumber | undefined;
  /** The record so far; the chunk itself while there is only one piece, which is then not to be written to. */
  #bytes: Buffer | undefined;
  #start = 0;
  #length = 0;
  #isOwn = false;

  constructor(lostRecord: () => LsnNumber | undefined) {
    this.#lostRecord = lostRecord;
  }

  piece(chunk: Buffer, from: number, to: number, left: number): void {
    if (this.#bytes === undefined && left === 0) {
      this.#bytes = chunk;
      this.#start = from;
      this.#length = to - from;
      return;
    }
    const length = this.#length + to - from;
    this.#makeRoom(length, length + left);
    chunk.copy(this.#bytes!, this.#length, from, to);
    this.#length = length;
  }

  #makeRoom(length: number, total: number): void {
    if (this.#isOwn && length <= this.#bytes!.length) return;
    const doubled = this.#isOwn ? this.#bytes!.length * 2 : FIRST_ALLOCATION;
    const larger = Buffer.allocUnsafe(Math.max(length, Math.min(total, doubled)));
    this.#bytes?.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
    this.#isOwn = true;
    this.#start = 0;
  }

  complete(lsn: LsnNumber, endLsn: LsnNumber): void {
    const bytes = this.#bytes!.subarray(this.#start, this.#start + this.#length);
    this.dropped();
    checkRecordCrc(bytes, lsn);
    const record = decodeRecord(bytes, lsn, endLsn);
    const lost = this.#lostRecord();
    if (lost !== undefined) checkNamesLostRecord(record, lost);
    this.each(record);
  }

  dropped(): void {
    this.#bytes = undefined;
    this.#start = 0;
    this.#length = 0;
    this.#isOwn = false;
  }
}

/** xl_overwrite_contrecord begins with the LSN of the record whose end was lost. */
function checkNamesLostRecord(record: WalRecord, lost: LsnNumber): void {
  const isOverwrite =
    record.rmgr === Rmgr.xlog && (record.info & RMGR_INFO_MASK) === XlogInfo.overwriteContrecord;
  if (!isOverwrite || record.mainData.length < 8 || Number(record.mainData.readBigUInt64LE(0)) !== lost) {
    throw new CorruptWal(
      record.lsn,
      `OVERWRITE_CONTRECORD does not name the lost record (info ${record.bytes[HeaderField.info]})`,
    );
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
