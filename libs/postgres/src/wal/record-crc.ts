/**
 * The checksum of a record, `xl_crc`: CRC-32C of everything behind the header, then of the header's first 20 bytes.
 *
 * Most records are shorter than 200 bytes, where calling into the native CRC costs more than summing here: measured on
 * pgbench's WAL (86 bytes a record), tables made the whole decoder twice as fast. Long records go to the native one.
 */
import { crc32c } from '@coppice/bytes';
import type { LsnNumber } from '@coppice/vocabulary';
import { CorruptWal } from './corrupt-wal';
import { HeaderField, RECORD_HEADER_SIZE } from './record-header';

/** Reflected Castagnoli polynomial. */
const POLYNOMIAL = 0x82f63b78;
/** From this length on the native function is faster. */
const NATIVE_FROM = 1024;

/** `TABLE[256 * k + b]` is what byte `b` does to the sum `k` bytes later ("slicing by 8"). */
const TABLE = makeTable();

/** The sum that belongs into `xl_crc` of this whole record. */
export function recordCrc(record: Buffer): number {
  if (record.length >= NATIVE_FROM) {
    const body = crc32c(record.subarray(RECORD_HEADER_SIZE));
    return crc32c(record.subarray(0, HeaderField.crc), body);
  }
  const body = sum(record, RECORD_HEADER_SIZE, record.length, 0xffffffff);
  return ~sum(record, 0, HeaderField.crc, body) >>> 0;
}

/** Throws unless the checksum of the whole record at `lsn` is right. */
export function checkRecordCrc(record: Buffer, lsn: LsnNumber): void {
  if (recordCrc(record) !== record.readUInt32LE(HeaderField.crc))
    throw new CorruptWal(lsn, 'record checksum is wrong');
}

/** Continues the inverted sum `crc` over `bytes[from, to)`. */
function sum(bytes: Buffer, from: number, to: number, crc: number): number {
  let at = from;
  for (; at + 8 <= to; at += 8) {
    crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    crc =
      TABLE[1792 + (crc & 255)]! ^
      TABLE[1536 + ((crc >>> 8) & 255)]! ^
      TABLE[1280 + ((crc >>> 16) & 255)]! ^
      TABLE[1024 + (crc >>> 24)]! ^
      TABLE[768 + bytes[at + 4]!]! ^
      TABLE[512 + bytes[at + 5]!]! ^
      TABLE[256 + bytes[at + 6]!]! ^
      TABLE[bytes[at + 7]!]!;
  }
  for (; at < to; at++) crc = TABLE[(crc ^ bytes[at]!) & 255]! ^ (crc >>> 8);
  return crc;
}

function makeTable(): Int32Array {
  const table = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    table[byte] = crc;
  }
  for (let at = 256; at < table.length; at++) {
    const shorter = table[at - 256]!;
    table[at] = table[shorter & 255]! ^ (shorter >>> 8);
  }
  return table;
}
