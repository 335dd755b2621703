/**
 * The WAL that lets stock PostgreSQL start at a position as if it had been shut down there: a shutdown-checkpoint record at
 * S, in a segment file that holds nothing else.
 *
 *   segment start                page of S
 *   ┌──────────────┬── zeros ──┬──────────────┬── zeros ──┬──────────────────────┬── zeros ──
 *   │ long header  │           │ page header  │           │ shutdown checkpoint  │
 *   └──────────────┴───────────┴──────────────┴───────────┴──────────────────────┴──────────
 *                                                         S                      endLsn: PostgreSQL writes on here
 *
 * When S is a page boundary the record starts behind that page's header; when the page ends inside the record it goes on
 * behind the header of the next page, which may be the first of another segment. `bytes` is exactly what belongs between
 * S and `endLsn` in the timeline's WAL, page headers included; what stands before S in the files is not part of it.
 */
import type { LsnNumber } from '@coppice/vocabulary';
import { CHECKPOINT_SIZE, type Checkpoint, encodeCheckpoint } from '../checkpoint';
import { encodePageHeader, PageFlag, pageHeaderSize, WAL_PAGE_SIZE, WAL_SEGMENT_SIZE } from './page-header';
import { recordCrc } from './record-crc';
import { align8, HeaderField, RECORD_HEADER_SIZE } from './record-header';
import { Rmgr, XlogInfo } from './rmgr';
import { segmentName, segmentStart } from './segment-name';

const ID_DATA_SHORT = 255;

export interface ShutdownCheckpointOptions {
  /** S: the end of the last record of the timeline, or a page boundary. */
  readonly at: LsnNumber;
  /** Start of the last record before S; `undefined` where it is not known (PostgreSQL then gets 0, which it accepts). */
  readonly previous: LsnNumber | undefined;
  /** Its `redo` is ignored: a shutdown checkpoint points at itself. */
  readonly checkpoint: Checkpoint;
  readonly systemIdentifier: bigint;
}

/** One WAL segment file: `size` bytes, zero but for the pieces. */
export interface WalSegmentFile {
  readonly name: string;
  readonly size: number;
  readonly pieces: readonly { readonly offset: number; readonly bytes: Buffer }[];
}

export interface ShutdownCheckpoint {
  /** Where the record starts: S, or behind the page header at S. `pg_control` names it. */
  readonly startLsn: LsnNumber;
  readonly endLsn: LsnNumber;
  /** The WAL bytes `[S, endLsn)`. */
  readonly bytes: Buffer;
  /** The checkpoint as it stands in the record, for `pg_control`. */
  readonly checkpoint: Checkpoint;
  /** What must be in `pg_wal`. */
  readonly segments: readonly WalSegmentFile[];
}

/** Makes the record and its files. Throws `RangeError` when no record can end at `at`. */
export function shutdownCheckpointRecord(options: ShutdownCheckpointOptions): ShutdownCheckpoint {
  const { at, systemIdentifier } = options;
  const inPage = at % WAL_PAGE_SIZE;
  const headerSize = pageHeaderSize(at - inPage);
  if (!Number.isSafeInteger(at) || at <= 0 || at % 8 !== 0 || (inPage !== 0 && inPage < headerSize)) {
    throw new RangeError(`${at} is not a position where a WAL record can end`);
  }
  const startLsn = inPage === 0 ? at + headerSize : at;
  const checkpoint: Checkpoint = { ...options.checkpoint, redo: startLsn };
  const record = recordOf(checkpoint, options.previous ?? 0);

  const tli = checkpoint.timelineNumber;
  const header = (pageLsn: LsnNumber, remainingLength: number): Buffer =>
    encodePageHeader({
      info: remainingLength > 0 ? PageFlag.firstIsContrecord : 0,
      tli,
      pageLsn,
      remainingLength,
      systemIdentifier: pageLsn % WAL_SEGMENT_SIZE === 0 ? systemIdentifier : undefined,
    });
  const parts: Buffer[] = inPage === 0 ? [header(at, 0)] : [];
  const onFirstPage = Math.min(record.length, WAL_PAGE_SIZE - (startLsn % WAL_PAGE_SIZE));
  parts.push(record.subarray(0, onFirstPage));
  if (onFirstPage < record.length) {
    const rest = record.subarray(onFirstPage);
    parts.push(header(startLsn + onFirstPage, rest.length), rest);
  }
  const written = parts.reduce((sum, part) => sum + part.length, 0);
  parts.push(Buffer.alloc(align8(at + written) - (at + written)));
  const bytes = Buffer.concat(parts);
  const endLsn = at + bytes.length;

  const before = new Map<LsnNumber, Buffer>();
  if (inPage !== 0) before.set(at - inPage, header(at - inPage, 0));
  if (segmentStart(at) !== at) before.set(segmentStart(at), header(segmentStart(at), 0));
  return { startLsn, endLsn, bytes, checkpoint, segments: filesOf(at, bytes, before, tli) };
}

function recordOf(checkpoint: Checkpoint, previous: LsnNumber): Buffer {
  const record = Buffer.alloc(RECORD_HEADER_SIZE + 2 + CHECKPOINT_SIZE);
  record.writeUInt32LE(record.length, HeaderField.totalLength);
  record.writeBigUInt64LE(BigInt(previous), HeaderField.prev);
  record[HeaderField.info] = XlogInfo.checkpointShutdown;
  record[HeaderField.rmgr] = Rmgr.xlog;
  record[RECORD_HEADER_SIZE] = ID_DATA_SHORT;
  record[RECORD_HEADER_SIZE + 1] = CHECKPOINT_SIZE;
  encodeCheckpoint(checkpoint).copy(record, RECORD_HEADER_SIZE + 2);
  record.writeUInt32LE(recordCrc(record), HeaderField.crc);
  return record;
}

/** Cuts `bytes` at segment boundaries and puts the headers that stand before S into their files. */
function filesOf(
  at: LsnNumber,
  bytes: Buffer,
  before: ReadonlyMap<LsnNumber, Buffer>,
  tli: number,
): WalSegmentFile[] {
  const files: WalSegmentFile[] = [];
  for (let start = segmentStart(at); start < at + bytes.length; start += WAL_SEGMENT_SIZE) {
    const pieces = [...before]
      .filter(([lsn]) => segmentStart(lsn) === start)
      .map(([lsn, header]) => ({ offset: lsn - start, bytes: header }));
    const from = Math.max(at, start);
    const to = Math.min(at + bytes.length, start + WAL_SEGMENT_SIZE);
    pieces.push({ offset: from - start, bytes: bytes.subarray(from - at, to - at) });
    files.push({ name: segmentName(start, { tli }), size: WAL_SEGMENT_SIZE, pieces });
  }
  return files;
}
