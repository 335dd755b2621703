/** Where records end in WAL that is only passed on: keeps no bytes, checks all but contents and checksums. */
import type { LsnNumber } from '@coppice/vocabulary';
import { decodePageHeader, PageFlag, pageHeaderSize, WAL_PAGE_SIZE, WAL_SEGMENT_SIZE } from './page-header';
import { type FramerOptions, isZero, RecordFramer, type RecordSink } from './record-framer';
import { align8 } from './record-header';

const KEEP_NOTHING: RecordSink = {
  piece: () => undefined,
  complete: () => undefined,
  dropped: () => undefined,
};

export class RecordBoundaries {
  readonly #framer: RecordFramer;

  /** `start` is the end of some record; the first byte pushed must be the one at `start`. */
  constructor(start: LsnNumber, options: FramerOptions = {}) {
    this.#framer = new RecordFramer(start, KEEP_NOTHING, options);
  }

  /** Where the next pushed byte belongs. */
  get position(): LsnNumber {
    return this.#framer.position;
  }

  /** End of the last complete record, never beyond `position`; the start position before the first. */
  get lastRecordEnd(): LsnNumber {
    return this.#framer.lastRecordEnd;
  }

  /** Start of the last complete record: the `prev` of a record appended at `lastRecordEnd`. `undefined` before the first. */
  get lastRecordStart(): LsnNumber | undefined {
    return this.#framer.lastRecordStart;
  }

  /** Whether zeros ended the WAL (only with `zeros: 'end'`). */
  get ended(): boolean {
    return this.#framer.ended;
  }

  /** Takes the next bytes and returns `lastRecordEnd`. Throws `CorruptWal`, and from then on always. */
  push(chunk: Uint8Array): LsnNumber {
    this.#framer.push(
      Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength),
    );
    return this.#framer.lastRecordEnd;
  }
}

/**
 * The last record end at or before `lsn`, from WAL bytes that start at the page boundary `pageLsn` and reach `lsn`.
 * `undefined` when no record ends between the two (a long record covers them): ask again with bytes from an earlier page.
 * Throws `CorruptWal`.
 */
export function recordBoundaryAtOrBefore(
  bytesFromPageStart: Buffer,
  pageLsn: LsnNumber,
  lsn: LsnNumber,
  segmentSize = WAL_SEGMENT_SIZE,
): LsnNumber | undefined {
  if (pageLsn % WAL_PAGE_SIZE !== 0 || lsn < pageLsn || lsn > pageLsn + bytesFromPageStart.length) {
    throw new RangeError(
      `bytes from ${pageLsn} to ${pageLsn + bytesFromPageStart.length} do not reach from a page start to ${lsn}`,
    );
  }
  const first = firstRecordBoundary(bytesFromPageStart, pageLsn, segmentSize);
  if (first === undefined || first > lsn) return undefined;
  const boundaries = new RecordBoundaries(first, { segmentSize });
  return boundaries.push(bytesFromPageStart.subarray(first - pageLsn, lsn - pageLsn));
}

/**
 * The first record end at or behind the page boundary `pageLsn`, where `bytes` start, as the page headers tell; `undefined`
 * when it is not in these bytes. Throws `CorruptWal`.
 */
export function firstRecordBoundary(
  bytes: Buffer,
  pageLsn: LsnNumber,
  segmentSize = WAL_SEGMENT_SIZE,
): LsnNumber | undefined {
  for (let at = 0; at < bytes.length; at += WAL_PAGE_SIZE) {
    const page = pageLsn + at;
    const size = pageHeaderSize(page, segmentSize);
    if (at + size > bytes.length) return undefined;
    // Behind a switch the pages up to the end of the segment are zeros.
    if (isZero(bytes, at, at + size)) continue;
    const { info, remainingLength } = decodePageHeader(bytes, at, page, segmentSize);
    if ((info & PageFlag.firstIsContrecord) !== 0) {
      const rest = size + align8(remainingLength);
      if (rest <= WAL_PAGE_SIZE) return page + rest;
    } else if ((info & PageFlag.firstIsOverwriteContrecord) === 0) {
      return page;
    }
  }
  return undefined;
}
