/**
 * Finds where a log ends that was not closed in good order: reads records from a known boundary on, checking every
 * checksum, up to the first that is not whole. What was read is written again and flushed (a page whose earlier write
 * failed is clean in memory and still not on disk), what lies behind is wiped.
 */
import { closeSync, fsyncSync, openSync, readdirSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import {
  CorruptWal,
  parseSegmentName,
  segmentName,
  segmentStart,
  UnsupportedWal,
  WAL_SEGMENT_SIZE,
  WalStreamDecoder,
} from '@coppice/postgres';
import type { LsnNumber } from '@coppice/vocabulary';
import { syncDirectorySync } from './disk';

const CHUNK = 1024 * 1024;

/** Returns the end of the last whole record at or behind `from`. */
export function recoverLog(directory: string, from: LsnNumber): LsnNumber {
  const end = endOfWholeRecords(directory, from);
  writeAgain(directory, from, end);
  for (const name of readdirSync(directory)) {
    const segment = parseSegmentName(name);
    if (segment && segment.startLsn > segmentStart(end)) rmSync(join(directory, name));
  }
  wipeBehind(directory, end);
  syncDirectorySync(directory);
  return end;
}

function endOfWholeRecords(directory: string, from: LsnNumber): LsnNumber {
  const decoder = new WalStreamDecoder(from, { zeros: 'end' });
  try {
    for (let start = segmentStart(from); !decoder.ended; start += WAL_SEGMENT_SIZE) {
      const there = eachChunk(directory, Math.max(start, from), start + WAL_SEGMENT_SIZE, (chunk) => {
        decoder.push(chunk, () => undefined);
        return !decoder.ended;
      });
      if (!there) break;
    }
  } catch (error) {
    if (!(error instanceof CorruptWal || error instanceof UnsupportedWal)) throw error;
  }
  return decoder.lastRecordEnd;
}

function writeAgain(directory: string, from: LsnNumber, to: LsnNumber): void {
  for (let start = segmentStart(from); start < to; start += WAL_SEGMENT_SIZE) {
    eachChunk(
      directory,
      Math.max(start, from),
      Math.min(to, start + WAL_SEGMENT_SIZE),
      (chunk, fd, offset) => {
        writeWhole(fd, chunk, offset);
        return true;
      },
    );
  }
}

/** Puts zeros in place of what is in the segment of `end` behind it. */
function wipeBehind(directory: string, end: LsnNumber): void {
  const zeros = Buffer.alloc(CHUNK);
  eachChunk(directory, end, segmentStart(end) + WAL_SEGMENT_SIZE, (chunk, fd, offset) => {
    const wiped = zeros.subarray(0, chunk.length);
    if (!chunk.equals(wiped)) writeWhole(fd, wiped, offset);
    return true;
  });
}

function writeWhole(fd: number, bytes: Buffer, offset: number): void {
  for (let done = 0; done < bytes.length; )
    done += writeSync(fd, bytes, done, bytes.length - done, offset + done);
}

/** Visits the bytes `[from, to)` of one segment until `visit` says false, then flushes it; says whether the file is there. */
function eachChunk(
  directory: string,
  from: LsnNumber,
  to: LsnNumber,
  visit: (chunk: Buffer, fd: number, offset: number) => boolean,
): boolean {
  const start = segmentStart(from);
  let fd: number;
  try {
    fd = openSync(join(directory, segmentName(start)), 'r+');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
  try {
    for (let at = from; at < to; ) {
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK, to - at));
      const count = readSync(fd, chunk, 0, chunk.length, at - start);
      if (count === 0 || !visit(chunk.subarray(0, count), fd, at - start)) break;
      at += count;
    }
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  return true;
}
