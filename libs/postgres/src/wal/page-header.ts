/**
 * WAL is cut into pages of 8 KiB, and each begins with a header (src/include/access/xlog_internal.h):
 *
 *   ┌─────────┬────────┬───────┬──────────┬─────────┬─────────┐
 *   │  magic  │  info  │  tli  │ pageaddr │ rem_len │ padding │   24 bytes, little-endian
 *   │   u16   │  u16   │  u32  │   u64    │   u32   │   u32   │
 *   └─────────┴────────┴───────┴──────────┴─────────┴─────────┘
 *   ┌────────────────────┬──────────┬─────────────┐
 *   │ system identifier  │ seg_size │ xlog_blcksz │               16 more on the first page of a segment
 *   │        u64         │   u32    │     u32     │
 *   └────────────────────┴──────────┴─────────────┘
 *
 * `rem_len` is how much of a record that began on an earlier page is left, counted without page headers.
 */
import type { LsnNumber } from '@coppice/vocabulary';
import { CorruptWal } from './corrupt-wal';

export const WAL_PAGE_SIZE = 8192;
export const SHORT_HEADER_SIZE = 24;
export const LONG_HEADER_SIZE = 40;
/** PostgreSQL's default, and the only segment size that we make; segment size is a power of two. */
export const WAL_SEGMENT_SIZE = 16 * 1024 * 1024;

/** `XLOG_PAGE_MAGIC` of PostgreSQL 17. */
export const PAGE_MAGIC = 0xd116;

export const PageFlag = {
  /** The page begins with the rest of a record. */
  firstIsContrecord: 0x0001,
  longHeader: 0x0002,
  backupRemovable: 0x0004,
  /** The record that should continue here was lost in a crash; another begins instead. */
  firstIsOverwriteContrecord: 0x0008,
} as const;
const ALL_FLAGS = 0x000f;

export interface WalPageHeader {
  readonly info: number;
  /** PostgreSQL's timeline number, 1 in everything that a compute writes. */
  readonly tli: number;
  readonly pageLsn: LsnNumber;
  readonly remainingLength: number;
  /** Only in a long header. */
  readonly systemIdentifier: bigint | undefined;
}

/** Bytes that the header of the page at `pageLsn` takes. */
export function pageHeaderSize(pageLsn: LsnNumber, segmentSize = WAL_SEGMENT_SIZE): number {
  return pageLsn % segmentSize === 0 ? LONG_HEADER_SIZE : SHORT_HEADER_SIZE;
}

/**
 * Reads the header of the page that must start at `pageLsn` from `bytes[at, …)`, which holds it whole. Throws
 * `CorruptWal` unless it is a header that PostgreSQL 17 writes at this place.
 */
export function decodePageHeader(
  bytes: Buffer,
  at: number,
  pageLsn: LsnNumber,
  segmentSize = WAL_SEGMENT_SIZE,
): WalPageHeader {
  const magic = bytes.readUInt16LE(at);
  if (magic !== PAGE_MAGIC) {
    throw new CorruptWal(pageLsn, `page magic is ${hex(magic)}, PostgreSQL 17 writes ${hex(PAGE_MAGIC)}`);
  }
  const info = bytes.readUInt16LE(at + 2);
  if (info & ~ALL_FLAGS) throw new CorruptWal(pageLsn, `page header has unknown flags ${hex(info)}`);
  const isLong = (info & PageFlag.longHeader) !== 0;
  if (isLong !== (pageLsn % segmentSize === 0)) {
    throw new CorruptWal(
      pageLsn,
      isLong ? 'long header inside a segment' : 'first page of a segment has a short header',
    );
  }
  const tli = bytes.readUInt32LE(at + 4);
  const pageAddress = bytes.readUInt32LE(at + 12) * 2 ** 32 + bytes.readUInt32LE(at + 8);
  if (pageAddress !== pageLsn) throw new CorruptWal(pageLsn, `page says that it is at ${hex(pageAddress)}`);
  const remainingLength = bytes.readUInt32LE(at + 16);
  if (!isLong) return { info, tli, pageLsn, remainingLength, systemIdentifier: undefined };

  const systemIdentifier = bytes.readBigUInt64LE(at + 24);
  const saidSegmentSize = bytes.readUInt32LE(at + 32);
  if (saidSegmentSize !== segmentSize) throw new CorruptWal(pageLsn, `segment size is ${saidSegmentSize}`);
  const pageSize = bytes.readUInt32LE(at + 36);
  if (pageSize !== WAL_PAGE_SIZE) throw new CorruptWal(pageLsn, `WAL page size is ${pageSize}`);
  return { info, tli, pageLsn, remainingLength, systemIdentifier };
}

/** The bytes of a header: long when a system identifier is given, which must be so exactly at a segment's start. */
export function encodePageHeader(header: WalPageHeader, segmentSize = WAL_SEGMENT_SIZE): Buffer {
  const isLong = header.systemIdentifier !== undefined;
  const bytes = Buffer.alloc(isLong ? LONG_HEADER_SIZE : SHORT_HEADER_SIZE);
  bytes.writeUInt16LE(PAGE_MAGIC, 0);
  bytes.writeUInt16LE(isLong ? header.info | PageFlag.longHeader : header.info, 2);
  bytes.writeUInt32LE(header.tli, 4);
  bytes.writeBigUInt64LE(BigInt(header.pageLsn), 8);
  bytes.writeUInt32LE(header.remainingLength, 16);
  if (isLong) {
    bytes.writeBigUInt64LE(header.systemIdentifier!, 24);
    bytes.writeUInt32LE(segmentSize, 32);
    bytes.writeUInt32LE(WAL_PAGE_SIZE, 36);
  }
  return bytes;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
