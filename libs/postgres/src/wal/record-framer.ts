/**
 * Finds records in a stream of WAL bytes that is cut anywhere.
 *
 *   page ─────────────────────────────┐ page ────────────────────────────────────┐
 *   │ header │ record ░░ record ░░ rec│ header: rem_len │ ord ░░ record ░░░░░░░░ │    ░ padding to a multiple of 8
 *
 * - A record starts at a multiple of 8, and runs on behind the header of the next page (and segment) when it must.
 * - Its end is the start of the next record *before* a page header: a page boundary when it fills its page.
 * - A record is complete when its padding has arrived, so that its end is never beyond what was received.
 * - An XLOG_SWITCH record ends where the next segment starts; the bytes in between mean nothing.
 * - A page flagged FIRST_IS_OVERWRITE_CONTRECORD drops the record that should continue on it (its rest was lost in a
 *   crash); the record that begins there instead is an OVERWRITE_CONTRECORD that names the lost one.
 *
 * What is checked: page headers, continuation lengths, record lengths, resource managers, the chain of `prev`. The
 * contents go to a sink, which may keep them (stream-decoder.ts) or not (record-boundaries.ts).
 */
import { formatLsn, type LsnNumber } from '@coppice/vocabulary';
import { CorruptWal } from './corrupt-wal';
import {
  decodePageHeader,
  LONG_HEADER_SIZE,
  PageFlag,
  pageHeaderSize,
  WAL_PAGE_SIZE,
  WAL_SEGMENT_SIZE,
} from './page-header';
import { checkRecordHeader, checkRecordLength, HeaderField, RECORD_HEADER_SIZE } from './record-header';
import { Rmgr, RMGR_INFO_MASK, XlogInfo } from './rmgr';

export interface FramerOptions {
  /** Bytes of a segment; the default is PostgreSQL's. */
  readonly segmentSize?: number;
  /** Refuse pages of another cluster. */
  readonly systemIdentifier?: bigint;
  /**
   * What zeros mean where a record or a page should start. In a live stream they are `corrupt` (the default); in a file
   * that is zero-filled behind the last record they are its `end`.
   */
  readonly zeros?: 'corrupt' | 'end';
}

/** Told about records as they go by, in order. */
export interface RecordSink {
  /** `chunk[from, to)` are the next bytes of the record, `left` of it are still to come (at least 1 while its length is unknown). */
  piece(chunk: Buffer, from: number, to: number, left: number): void;
  /** The record that the pieces since the last call made is whole. May throw `CorruptWal`. */
  complete(lsn: LsnNumber, endLsn: LsnNumber): void;
  /** The pieces so far belong to a record that was lost. */
  dropped(): void;
}

const HEADER_END = RECORD_HEADER_SIZE;

export class RecordFramer {
  readonly #sink: RecordSink;
  readonly #segmentSize: number;
  readonly #systemIdentifier: bigint | undefined;
  readonly #zerosEnd: boolean;
  readonly #scratch = Buffer.alloc(LONG_HEADER_SIZE);

  #position: LsnNumber;
  #lastRecordEnd: LsnNumber;
  #previous: LsnNumber | undefined;
  #tli = 0;

  /** Bytes of a page header gathered in `#scratch`; only at a page boundary. */
  #pageHeaderBytes = 0;
  /** Bytes of a record seen; 0 between records. Up to 24 of them stand in `#header`. */
  #recordBytes = 0;
  /** Length of the current record, 0 while unknown. */
  #recordLength = 0;
  #recordLsn: LsnNumber = 0;
  readonly #header = Buffer.alloc(RECORD_HEADER_SIZE);
  /** Bytes to skip before the current record is complete. */
  #skip = 0;
  /** Start of the record that was lost, when an OVERWRITE_CONTRECORD must come next. */
  #lostRecord: LsnNumber | undefined;
  #isOverwriting = false;
  #isSwitch = false;
  #ended = false;
  #failure: CorruptWal | undefined;

  /** `start` is the end of a record (or a page boundary where one ended); the first byte pushed is the one at `start`. */
  constructor(start: LsnNumber, sink: RecordSink, options: FramerOptions = {}) {
    this.#segmentSize = options.segmentSize ?? WAL_SEGMENT_SIZE;
    const inPage = start % WAL_PAGE_SIZE;
    const headerSize = pageHeaderSize(start - inPage, this.#segmentSize);
    if (
      !Number.isSafeInteger(start) ||
      start < 0 ||
      start % 8 !== 0 ||
      (inPage !== 0 && inPage < headerSize)
    ) {
      throw new RangeError(`${start} is not a position where a WAL record can start`);
    }
    this.#sink = sink;
    this.#systemIdentifier = options.systemIdentifier;
    this.#zerosEnd = options.zeros === 'end';
    this.#position = start;
    this.#lastRecordEnd = start;
  }

  /** Where the next pushed byte belongs. */
  get position(): LsnNumber {
    return this.#position;
  }

  /** End of the last complete record; the start position before the first. */
  get lastRecordEnd(): LsnNumber {
    return this.#lastRecordEnd;
  }

  /** Start of the last complete record; `undefined` before the first. */
  get lastRecordStart(): LsnNumber | undefined {
    return this.#previous;
  }

  /** Whether zeros ended the WAL (only with `zeros: 'end'`). */
  get ended(): boolean {
    return this.#ended;
  }

  /** Takes the next bytes. Throws `CorruptWal`, and from then on always. */
  push(chunk: Buffer): void {
    if (this.#failure) throw this.#failure;
    try {
      let at = 0;
      while (at < chunk.length && !this.#ended) at = this.#step(chunk, at);
    } catch (error) {
      if (error instanceof CorruptWal) this.#failure = error;
      throw error;
    }
  }

  /** Consumes at least one byte of `chunk[at, …)`; returns where it stopped. */
  #step(chunk: Buffer, at: number): number {
    if (this.#skip > 0) return this.#skipBytes(chunk, at);
    const inPage = this.#position % WAL_PAGE_SIZE;
    const atPageStart = inPage === 0 || this.#pageHeaderBytes > 0;
    return atPageStart ? this.#pageHeader(chunk, at) : this.#record(chunk, at, WAL_PAGE_SIZE - inPage);
  }

  #skipBytes(chunk: Buffer, at: number): number {
    const count = Math.min(this.#skip, chunk.length - at);
    this.#skip -= count;
    this.#position += count;
    if (this.#skip === 0) this.#complete();
    return at + count;
  }

  #pageHeader(chunk: Buffer, at: number): number {
    const pageLsn = this.#position - this.#pageHeaderBytes;
    const size = pageHeaderSize(pageLsn, this.#segmentSize);
    const count = Math.min(size - this.#pageHeaderBytes, chunk.length - at);
    chunk.copy(this.#scratch, this.#pageHeaderBytes, at, at + count);
    this.#pageHeaderBytes += count;
    this.#position += count;
    if (this.#pageHeaderBytes < size) return at + count;

    this.#pageHeaderBytes = 0;
    if (this.#zerosEnd && isZero(this.#scratch, 0, size)) {
      this.#ended = true;
      return at + count;
    }
    const header = decodePageHeader(this.#scratch, 0, pageLsn, this.#segmentSize);
    if (header.tli < this.#tli)
      throw new CorruptWal(pageLsn, `timeline number ${header.tli} after ${this.#tli}`);
    this.#tli = header.tli;
    const { systemIdentifier } = header;
    if (
      this.#systemIdentifier !== undefined &&
      systemIdentifier !== undefined &&
      systemIdentifier !== this.#systemIdentifier
    ) {
      throw new CorruptWal(
        pageLsn,
        `system identifier is ${systemIdentifier}, expected ${this.#systemIdentifier}`,
      );
    }
    this.#continueOn(pageLsn, header.info, header.remainingLength);
    return at + count;
  }

  /** Compares what the page header says about a record that continues here with the record under way. */
  #continueOn(pageLsn: LsnNumber, info: number, remainingLength: number): void {
    const isContinued = (info & PageFlag.firstIsContrecord) !== 0;
    if (info & PageFlag.firstIsOverwriteContrecord) {
      if (isContinued) throw new CorruptWal(pageLsn, 'page both continues and overwrites a record');
      const isStart = this.#previous === undefined && this.#lastRecordEnd === pageLsn;
      if (this.#recordBytes === 0 && !isStart)
        throw new CorruptWal(pageLsn, 'page overwrites a record, but none was left open');
      this.#isOverwriting = true;
      if (this.#recordBytes > 0) {
        this.#lostRecord = this.#recordLsn;
        this.#recordBytes = 0;
        this.#recordLength = 0;
        this.#sink.dropped();
      }
      return;
    }
    if (this.#recordBytes === 0) {
      if (isContinued) throw new CorruptWal(pageLsn, 'page continues a record, but none was left open');
      return;
    }
    // At a page's end at least 8 bytes of the record are known, so its length is.
    const left = this.#recordLength - this.#recordBytes;
    if (!isContinued || remainingLength !== left) {
      const said = isContinued ? `${remainingLength}` : 'none';
      throw new CorruptWal(
        pageLsn,
        `record at ${formatLsn(this.#recordLsn)} has ${left} bytes left, the page says ${said}`,
      );
    }
  }

  #record(chunk: Buffer, at: number, leftInPage: number): number {
    if (this.#recordBytes === 0) this.#recordLsn = this.#position;
    const available = Math.min(leftInPage, chunk.length - at);
    if (this.#recordBytes >= HEADER_END) {
      return this.#take(chunk, at, Math.min(available, this.#recordLength - this.#recordBytes));
    }
    if (this.#recordBytes === 0 && available >= HEADER_END) {
      this.#recordLength = chunk.readUInt32LE(at);
      if (this.#recordLength === 0 && this.#zerosEnd) return this.#end(chunk);
      checkRecordLength(this.#recordLength, this.#recordLsn);
      this.#checkHeader(chunk, at);
      return this.#take(chunk, at, Math.min(available, this.#recordLength));
    }
    return this.#gatherHeader(chunk, at, available);
  }

  /** The header arrives in parts, or a page ends inside it. */
  #gatherHeader(chunk: Buffer, at: number, available: number): number {
    const count = Math.min(available, (this.#recordBytes < 4 ? 4 : HEADER_END) - this.#recordBytes);
    chunk.copy(this.#header, this.#recordBytes, at, at + count);
    const bytes = this.#recordBytes + count;
    if (this.#recordBytes < 4 && bytes === 4) {
      this.#recordLength = this.#header.readUInt32LE(0);
      if (this.#recordLength === 0 && this.#zerosEnd) return this.#end(chunk);
      checkRecordLength(this.#recordLength, this.#recordLsn);
    }
    if (bytes === HEADER_END) this.#checkHeader(this.#header, 0);
    return this.#take(chunk, at, count);
  }

  #checkHeader(bytes: Buffer, at: number): void {
    checkRecordHeader(bytes, at, this.#recordLsn, this.#previous);
    const operation = bytes[at + HeaderField.info]! & RMGR_INFO_MASK;
    const isXlog = bytes[at + HeaderField.rmgr] === Rmgr.xlog;
    if (this.#isOverwriting && !(isXlog && operation === XlogInfo.overwriteContrecord)) {
      throw new CorruptWal(this.#recordLsn, 'a lost record is not followed by OVERWRITE_CONTRECORD');
    }
    this.#isSwitch = isXlog && operation === XlogInfo.switch;
  }

  /** Hands `count` bytes of the current record on. */
  #take(chunk: Buffer, at: number, count: number): number {
    this.#recordBytes += count;
    this.#position += count;
    const left = this.#recordBytes < 4 ? 1 : this.#recordLength - this.#recordBytes;
    this.#sink.piece(chunk, at, at + count, left);
    if (left === 0) {
      const padding = (8 - (this.#recordLength % 8)) % 8;
      this.#skip = padding;
      if (this.#isSwitch) {
        const inSegment = (this.#position + padding) % this.#segmentSize;
        if (inSegment > 0) this.#skip += this.#segmentSize - inSegment;
      }
      if (this.#skip === 0) this.#complete();
    }
    return at + count;
  }

  #complete(): void {
    const lsn = this.#recordLsn;
    this.#recordBytes = 0;
    this.#recordLength = 0;
    this.#sink.complete(lsn, this.#position);
    this.#previous = lsn;
    this.#lastRecordEnd = this.#position;
    this.#isOverwriting = false;
    this.#lostRecord = undefined;
  }

  /** Start of the lost record that the record just completed must name; `undefined` when it names none that we saw. */
  get lostRecord(): LsnNumber | undefined {
    return this.#lostRecord;
  }

  #end(chunk: Buffer): number {
    this.#recordBytes = 0;
    this.#ended = true;
    return chunk.length;
  }
}

/** Whether `bytes[from, to)` are all zero. */
export function isZero(bytes: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (bytes[at] !== 0) return false;
  return true;
}
