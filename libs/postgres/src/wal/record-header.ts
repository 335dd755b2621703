/** The fixed start of every record, as drawn in record.ts, and the checks that it must pass before anything else is believed. */
import { crc32c } from '@coppice/bytes';
import { formatLsn, type LsnNumber } from '@coppice/vocabulary';
import { CorruptWal } from './corrupt-wal';
import { isRmgrId } from './rmgr';

export const RECORD_HEADER_SIZE = 24;
/** `XLogRecordMaxSize`. */
export const MAX_RECORD_SIZE = 1020 * 1024 * 1024;
/** Offset of `xl_crc`, which is not part of its own sum. */
const CRC_OFFSET = 20;

export const HeaderField = { totalLength: 0, xid: 4, prev: 8, info: 16, rmgr: 17, crc: CRC_OFFSET } as const;

/** The next multiple of 8 (`MAXALIGN`): where records start. */
export function align8(value: number): number {
  return Math.ceil(value / 8) * 8;
}

/** Throws unless a record at `lsn` can be `totalLength` long. */
export function checkRecordLength(totalLength: number, lsn: LsnNumber): void {
  if (totalLength < RECORD_HEADER_SIZE || totalLength > MAX_RECORD_SIZE) {
    throw new CorruptWal(lsn, `record length is ${totalLength}`);
  }
}

/**
 * Throws unless the header at `bytes[at, at + 24)` names a resource manager and continues the chain: `prev` is where the
 * record before it starts, or `undefined` when that is not known.
 */
export function checkRecordHeader(
  bytes: Buffer,
  at: number,
  lsn: LsnNumber,
  prev: LsnNumber | undefined,
): void {
  const rmgr = bytes[at + HeaderField.rmgr]!;
  if (!isRmgrId(rmgr)) throw new CorruptWal(lsn, `resource manager ${rmgr} does not exist`);
  const said =
    bytes.readUInt32LE(at + HeaderField.prev + 4) * 2 ** 32 + bytes.readUInt32LE(at + HeaderField.prev);
  if (prev === undefined ? said >= lsn : said !== prev) {
    const expected = prev === undefined ? 'something earlier' : formatLsn(prev);
    throw new CorruptWal(lsn, `previous record is said to be at ${formatLsn(said)}, expected ${expected}`);
  }
}

/** The sum that belongs into `xl_crc` of a whole record: of everything after the header, then of the header before it. */
export function recordCrc(record: Buffer): number {
  const body = crc32c(record.subarray(RECORD_HEADER_SIZE));
  return crc32c(record.subarray(0, CRC_OFFSET), body);
}

/** Throws unless the checksum of the whole record at `lsn` is right. */
export function checkRecordCrc(record: Buffer, lsn: LsnNumber): void {
  if (recordCrc(record) !== record.readUInt32LE(CRC_OFFSET))
    throw new CorruptWal(lsn, 'record checksum is wrong');
}
