/** The fixed start of every record, as drawn in record.ts, and the checks that it must pass before anything else is believed. */
import { formatLsn, type LsnNumber } from '@coppice/vocabulary';
import { CorruptWal } from './corrupt-wal';
import { isRmgrId } from './rmgr';

export const RECORD_HEADER_SIZE = 24;
/** `XLogRecordMaxSize`. */
export const MAX_RECORD_SIZE = 1020 * 1024 * 1024;

/** Offsets within the header. */
export const HeaderField = { totalLength: 0, xid: 4, prev: 8, info: 16, rmgr: 17, crc: 20 } as const;

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
