/**
 * The WAL of one timeline on disk, as PostgreSQL keeps it: segment files of 16 MiB with PostgreSQL's names, readable by
 * pg_waldump from the timeline's start on. Sparse: a segment takes the room of what was written to it.
 *
 *   first segment                                               start of the timeline
 *   ┌─────────────┬── hole ──┬─────────────────────────────────┬───────────────────┬── zeros
 *   │ long header │          │ page header, "rest of a record" │ WAL as it came …  │
 *   └─────────────┴──────────┴─────────────────────────────────┴───────────────────┴──
 *
 * Behind the end there are zeros only: bytes of an earlier term that stood there could one day look like records again.
 * All calls block: a write and its fdatasync take half the time of a trip through the thread pool.
 */
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { invariant, InvariantViolation, type LogEnd } from '@coppice/consensus';
import { CorruptWal, RecordBoundaries, segmentName, segmentStart, WAL_SEGMENT_SIZE } from '@coppice/postgres';
import { formatLsn, lsn, toLsnNumber, type Lsn, type LsnNumber } from '@coppice/vocabulary';
import { diskError, StorageLost, syncDirectorySync } from './disk';
import { firstSegmentHeaders } from './first-segment';

export interface WalLogOptions {
  readonly directory: string;
  readonly startLsn: Lsn;
  readonly systemId: bigint;
  /** Where the log ends: a record's end, everything durable, zeros behind. */
  readonly end: Lsn;
}

interface OpenSegment {
  readonly start: LsnNumber;
  readonly fd: number;
  /** Up to here zeros are written ahead, so that a flush has no blocks to allocate. */
  allocated: LsnNumber;
}

/** Zeros written ahead at a time, once a log is busy. */
const AHEAD_BYTES = 512 * 1024;
const ZEROS = Buffer.alloc(AHEAD_BYTES);
/** Bytes appended since it was opened that make a log busy. */
const BUSY_BYTES = 64 * 1024;

export class WalLog {
  readonly #options: WalLogOptions;
  readonly #start: LsnNumber;
  #written: LsnNumber;
  #end: LogEnd;
  #boundaries: RecordBoundaries;
  #segment: OpenSegment | undefined;
  /** Full segments that are not flushed yet. */
  #unflushed: OpenSegment[] = [];
  #dirty = false;
  #directoryDirty = false;
  #appended = 0;
  /** An append failed half way. */
  #rubbish = false;

  constructor(options: WalLogOptions) {
    this.#options = options;
    this.#start = toLsnNumber(options.startLsn);
    this.#written = toLsnNumber(options.end);
    this.#boundaries = new RecordBoundaries(this.#written);
    this.#end = { written: options.end, recordEnd: options.end };
  }

  get end(): LogEnd {
    return this.#end;
  }

  /**
   * Appends. Throws `StorageFailure` on a full disk and `InvariantViolation` when the bytes are no WAL; what is then
   * behind the last record is rubbish until `truncate`.
   */
  write(at: Lsn, bytes: Uint8Array): void {
    invariant(
      at === this.#end.written,
      () => `append at ${formatLsn(at)}, the log ends at ${formatLsn(this.#end.written)}`,
    );
    invariant(!this.#rubbish, () => `append at ${formatLsn(at)}, behind a failed one`);
    try {
      this.#put(bytes);
      this.#follow(bytes);
    } catch (error) {
      this.#rubbish = true;
      throw error;
    } finally {
      this.#written += bytes.length;
      this.#appended += bytes.length;
      this.#end = { written: lsn(this.#written), recordEnd: lsn(this.#boundaries.lastRecordEnd) };
    }
  }

  #put(bytes: Uint8Array): void {
    let [done, position] = [0, this.#written];
    try {
      while (done < bytes.length) {
        const segment = this.#segmentAt(position);
        const count = Math.min(bytes.length - done, segment.start + WAL_SEGMENT_SIZE - position);
        this.#dirty = true;
        const written = writeSync(segment.fd, bytes, done, count, position - segment.start);
        done += written;
        position += written;
      }
    } catch (error) {
      throw diskError(`cannot append to the WAL in ${this.#options.directory}`, error);
    }
  }

  /**
   * Makes everything written durable. No failure is a refusal, not even a full disk: what the disk did not take now, it
   * would not be asked for again, and a second flush would succeed without it.
   */
  flush(): void {
    if (!this.#dirty) return;
    try {
      for (const segment of this.#unflushed.splice(0)) {
        fdatasyncSync(segment.fd);
        closeSync(segment.fd);
      }
      if (this.#segment) fdatasyncSync(this.#segment.fd);
      if (this.#directoryDirty) syncDirectorySync(this.#options.directory);
    } catch (error) {
      throw new StorageLost(
        `cannot flush the WAL in ${this.#options.directory}: ${(error as Error).message}`,
        { cause: error },
      );
    }
    this.#dirty = false;
    this.#directoryDirty = false;
  }

  /** Puts zeros in place of everything behind `to`, durably. */
  truncate(to: Lsn): void {
    const target = toLsnNumber(to);
    try {
      for (
        let start = segmentStart(this.#written);
        start >= segmentStart(target) && this.#written > target;
        start -= WAL_SEGMENT_SIZE
      ) {
        if (start >= target && start > segmentStart(this.#start)) this.#remove(start);
        else this.#zero(Math.max(start, target), Math.min(this.#written, start + WAL_SEGMENT_SIZE));
      }
      this.#dirty = true;
      this.flush();
    } catch (error) {
      throw diskError(`cannot truncate the WAL in ${this.#options.directory}`, error);
    }
    this.#written = target;
    this.#rubbish = false;
    this.#boundaries = new RecordBoundaries(target);
    this.#end = { written: to, recordEnd: to };
  }

  /** Takes room ahead of a busy log. Call when nobody waits. */
  prepareAhead(): void {
    const segment = this.#segment;
    if (!segment || this.#appended < BUSY_BYTES) return;
    const segmentEnd = segment.start + WAL_SEGMENT_SIZE;
    const from = Math.max(segment.allocated, this.#written);
    if (from - this.#written >= AHEAD_BYTES / 4 || from >= segmentEnd) return;
    const count = Math.min(AHEAD_BYTES, segmentEnd - from);
    try {
      segment.allocated = from + writeSync(segment.fd, ZEROS, 0, count, from - segment.start);
      this.#dirty = true;
    } catch (error) {
      const failure = diskError(`cannot write ahead in ${this.#options.directory}`, error);
      if (failure.name !== 'StorageFailure') throw failure;
    }
  }

  /** Gives back the room taken ahead and closes the files. Everything must be flushed. */
  close(): void {
    const segment = this.#segment;
    this.#segment = undefined;
    for (const full of this.#unflushed.splice(0)) closeSync(full.fd);
    if (!segment) return;
    try {
      if (segment.allocated > this.#written) {
        ftruncateSync(segment.fd, this.#written - segment.start);
        ftruncateSync(segment.fd, WAL_SEGMENT_SIZE);
        fsyncSync(segment.fd);
      }
    } finally {
      closeSync(segment.fd);
    }
  }

  #follow(bytes: Uint8Array): void {
    try {
      this.#boundaries.push(bytes);
    } catch (error) {
      if (error instanceof CorruptWal) throw new InvariantViolation(error.message);
      throw error;
    }
  }

  #segmentAt(position: LsnNumber): OpenSegment {
    const start = segmentStart(position);
    if (this.#segment?.start === start) return this.#segment;
    const opened = this.#open(start);
    if (this.#segment) this.#unflushed.push(this.#segment);
    this.#segment = opened;
    return opened;
  }

  #open(start: LsnNumber): OpenSegment {
    const fd = this.#openFile(join(this.#options.directory, segmentName(start)));
    if (fstatSync(fd).size < WAL_SEGMENT_SIZE) ftruncateSync(fd, WAL_SEGMENT_SIZE);
    // Also into a file that was there: who made it may have been killed before the headers were in it.
    if (start === segmentStart(this.#start)) {
      for (const { offset, bytes } of firstSegmentHeaders(this.#start, this.#options.systemId))
        writeSync(fd, bytes, 0, bytes.length, offset);
      this.#dirty = true;
    }
    return { start, fd, allocated: start };
  }

  #openFile(path: string): number {
    try {
      return openSync(path, 'r+');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    const fd = openSync(path, 'wx+', 0o600);
    this.#dirty = true;
    this.#directoryDirty = true;
    return fd;
  }

  #remove(start: LsnNumber): void {
    this.#unflushed = this.#unflushed.filter((segment) => {
      if (segment.start === start) closeSync(segment.fd);
      return segment.start !== start;
    });
    if (this.#segment?.start === start) {
      closeSync(this.#segment.fd);
      this.#segment = undefined;
    }
    rmSync(join(this.#options.directory, segmentName(start)), { force: true });
    this.#directoryDirty = true;
  }

  #zero(from: LsnNumber, to: LsnNumber): void {
    const segment = this.#segmentAt(from);
    for (let at = from; at < to; )
      at += writeSync(segment.fd, ZEROS, 0, Math.min(ZEROS.length, to - at), at - segment.start);
  }
}
