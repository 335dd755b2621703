/**
 * One WAL record, decoded. Format: src/include/access/xlogrecord.h, decoded as DecodeXLogRecord in
 * src/backend/access/transam/xlogreader.c does.
 *
 *   ┌─────────┬─────────┬──────────┬──────┬──────┬─────────┬─────────┐
 *   │ tot_len │   xid   │   prev   │ info │ rmid │ padding │   crc   │   24 bytes, little-endian
 *   │   u32   │   u32   │   u64    │  u8  │  u8  │   u16   │   u32   │
 *   └─────────┴─────────┴──────────┴──────┴──────┴─────────┴─────────┘
 *   then block headers (id, fork+flags, data length, [image header], [relation], block number), the main data
 *   header, and then, in the same order, block images, block data and main data.
 */
import type { LsnNumber, RelationFork } from '@coppice/vocabulary';

/** A full-page image inside a block reference, still as it stands in the record. */
export interface BlockImage {
  /** Image bytes as stored: without the hole, perhaps compressed. */
  readonly bytes: Buffer;
  readonly holeOffset: number;
  readonly holeLength: number;
  /** BKPIMAGE_APPLY: redo must restore this image. Without it the image is there for consistency checks only. */
  readonly apply: boolean;
  readonly compression: 'none' | 'pglz' | 'lz4' | 'zstd';
}

/** One block that a record touches. */
export interface BlockReference {
  /** The id the record gave it, 0..32; ids may have gaps. */
  readonly id: number;
  readonly relation: RelationFork;
  readonly block: number;
  /** BKPBLOCK_WILL_INIT: redo makes the page from nothing. */
  readonly willInit: boolean;
  readonly image: BlockImage | undefined;
  /** Data registered for this block; empty when there is none. */
  readonly data: Buffer;
}

export interface WalRecord {
  /** Where the record starts. */
  readonly lsn: LsnNumber;
  /** Where it ends (xlogreader's EndRecPtr): the LSN that a page it changed carries. */
  readonly endLsn: LsnNumber;
  /** The whole record, contiguous: header to last byte, page headers taken out. What the pageserver stores. */
  readonly bytes: Buffer;
  /** 0 when the record belongs to no transaction. */
  readonly xid: number;
  /** Start of the previous record. */
  readonly prev: LsnNumber;
  /** Resource manager id (src/include/access/rmgrlist.h). */
  readonly rmgr: number;
  /** `xl_info`; the high four bits are the resource manager's own. */
  readonly info: number;
  readonly blocks: readonly BlockReference[];
  readonly mainData: Buffer;
  /** XLR_BLOCK_ID_ORIGIN; 0 when absent. */
  readonly origin: number;
  /** XLR_BLOCK_ID_TOPLEVEL_XID; 0 when absent. */
  readonly toplevelXid: number;
}
