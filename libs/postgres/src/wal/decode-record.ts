/**
 * A contiguous record into a `WalRecord`: the headers in wire order, then the payloads in the same order. Formats are
 * drawn in record.ts; the checks are those of `DecodeXLogRecord`, and a few more that keep hostile lengths inside a page.
 *
 *   block header   ┌────┬────────────┬─────────────┐  [image header]  [relation 12]  ┌─────────┐
 *                  │ id │ fork+flags │ data length │                                 │  block  │
 *                  │ u8 │     u8     │     u16     │                                 │   u32   │
 *                  └────┴────────────┴─────────────┘                                 └─────────┘
 *   image header   length u16, hole offset u16, flags u8, [hole length u16: compressed and with a hole]
 */
import { BLOCK_SIZE, type ForkNumber, type LsnNumber, type RelationFork } from '@coppice/vocabulary';
import { CorruptWal } from './corrupt-wal';
import type { BlockImage, BlockReference, WalRecord } from './record';
import { HeaderField, RECORD_HEADER_SIZE } from './record-header';

const MAX_BLOCK_ID = 32;
const ID_DATA_SHORT = 255;
const ID_DATA_LONG = 254;
const ID_ORIGIN = 253;
const ID_TOPLEVEL_XID = 252;

const BLOCK_FORK_MASK = 0x0f;
const BLOCK_HAS_IMAGE = 0x10;
const BLOCK_HAS_DATA = 0x20;
const BLOCK_WILL_INIT = 0x40;
const BLOCK_SAME_REL = 0x80;

const IMAGE_HAS_HOLE = 0x01;
const IMAGE_APPLY = 0x02;
const IMAGE_PGLZ = 0x04;
const IMAGE_LZ4 = 0x08;
const IMAGE_ZSTD = 0x10;
const IMAGE_COMPRESSED = IMAGE_PGLZ | IMAGE_LZ4 | IMAGE_ZSTD;
const IMAGE_ALL_FLAGS = IMAGE_HAS_HOLE | IMAGE_APPLY | IMAGE_COMPRESSED;

const EMPTY = Buffer.alloc(0);

/** What a block header says, before its payload has been found. */
interface BlockHeader {
  readonly id: number;
  readonly flags: number;
  readonly dataLength: number;
  readonly imageLength: number;
  readonly holeOffset: number;
  readonly holeLength: number;
  readonly imageFlags: number;
  readonly relation: RelationFork;
  readonly block: number;
}

/**
 * Decodes one whole record (page headers taken out) that starts at `lsn` and ends at `endLsn`. The result shares memory
 * with `bytes`. Throws `CorruptWal`; does not look at the checksum (`checkRecordCrc` does).
 */
export function decodeRecord(bytes: Buffer, lsn: LsnNumber, endLsn: LsnNumber): WalRecord {
  const total = bytes.length;
  if (total < RECORD_HEADER_SIZE || bytes.readUInt32LE(HeaderField.totalLength) !== total) {
    throw new CorruptWal(lsn, `record length does not match its ${total} bytes`);
  }
  let origin = 0;
  let toplevelXid = 0;
  let mainLength = 0;
  let relation: RelationFork | undefined;
  let headers: BlockHeader[] | undefined;
  let at = RECORD_HEADER_SIZE;
  let payload = 0;

  const room = (count: number): void => {
    if (at + count > total) throw new CorruptWal(lsn, 'record ends inside its headers');
  };

  while (total - at > payload) {
    const id = bytes[at]!;
    if (id <= MAX_BLOCK_ID) {
      const last = headers?.at(-1)?.id ?? -1;
      if (id <= last) throw new CorruptWal(lsn, `block id ${id} after ${last}`);
      room(4);
      const flags = bytes[at + 1]!;
      const dataLength = bytes.readUInt16LE(at + 2);
      at += 4;
      if (((flags & BLOCK_HAS_DATA) !== 0) !== dataLength > 0) {
        throw new CorruptWal(lsn, `block ${id} has flags ${flags} and ${dataLength} bytes of data`);
      }
      const fork = flags & BLOCK_FORK_MASK;
      if (fork > 3) throw new CorruptWal(lsn, `block ${id} is in fork ${fork}, which does not exist`);

      let imageLength = 0;
      let holeOffset = 0;
      let holeLength = 0;
      let imageFlags = 0;
      if (flags & BLOCK_HAS_IMAGE) {
        room(5);
        imageLength = bytes.readUInt16LE(at);
        holeOffset = bytes.readUInt16LE(at + 2);
        imageFlags = bytes[at + 4]!;
        at += 5;
        if ((imageFlags & IMAGE_COMPRESSED) === 0) holeLength = BLOCK_SIZE - imageLength;
        else if (imageFlags & IMAGE_HAS_HOLE) {
          room(2);
          holeLength = bytes.readUInt16LE(at);
          at += 2;
        }
        if (!isPossibleImage(imageFlags, imageLength, holeOffset, holeLength)) {
          throw new CorruptWal(
            lsn,
            `image of block ${id} has flags ${imageFlags}, length ${imageLength}, hole ${holeOffset}+${holeLength}`,
          );
        }
      }
      if ((flags & BLOCK_SAME_REL) === 0) {
        room(12);
        relation = {
          tablespace: bytes.readUInt32LE(at),
          database: bytes.readUInt32LE(at + 4),
          relation: bytes.readUInt32LE(at + 8),
          fork: fork as ForkNumber,
        };
        at += 12;
      } else if (relation === undefined) {
        throw new CorruptWal(lsn, `block ${id} is in the relation of the block before it, but there is none`);
      } else if (relation.fork !== fork) {
        relation = { ...relation, fork: fork as ForkNumber };
      }
      room(4);
      const block = bytes.readUInt32LE(at);
      at += 4;
      payload += imageLength + dataLength;
      const header = {
        id,
        flags,
        dataLength,
        imageLength,
        holeOffset,
        holeLength,
        imageFlags,
        relation,
        block,
      };
      if (headers) headers.push(header);
      else headers = [header];
    } else if (id === ID_DATA_SHORT) {
      room(2);
      mainLength = bytes[at + 1]!;
      at += 2;
      payload += mainLength;
      break;
    } else if (id === ID_DATA_LONG) {
      room(5);
      mainLength = bytes.readUInt32LE(at + 1);
      at += 5;
      payload += mainLength;
      break;
    } else if (id === ID_ORIGIN) {
      room(3);
      origin = bytes.readUInt16LE(at + 1);
      at += 3;
    } else if (id === ID_TOPLEVEL_XID) {
      room(5);
      toplevelXid = bytes.readUInt32LE(at + 1);
      at += 5;
    } else {
      throw new CorruptWal(lsn, `block id ${id} does not exist`);
    }
  }
  if (total - at !== payload) {
    throw new CorruptWal(lsn, `record has ${total - at} bytes of payload, its headers promise ${payload}`);
  }

  const blocks: BlockReference[] = [];
  if (headers) {
    for (const h of headers) {
      let image: BlockImage | undefined;
      if (h.flags & BLOCK_HAS_IMAGE) {
        image = {
          bytes: bytes.subarray(at, at + h.imageLength),
          holeOffset: h.holeOffset,
          holeLength: h.holeLength,
          apply: (h.imageFlags & IMAGE_APPLY) !== 0,
          compression: compressionOf(h.imageFlags),
        };
        at += h.imageLength;
      }
      blocks.push({
        id: h.id,
        relation: h.relation,
        block: h.block,
        willInit: (h.flags & BLOCK_WILL_INIT) !== 0,
        image,
        data: h.dataLength === 0 ? EMPTY : bytes.subarray(at, at + h.dataLength),
      });
      at += h.dataLength;
    }
  }
  return {
    lsn,
    endLsn,
    bytes,
    xid: bytes.readUInt32LE(HeaderField.xid),
    prev: bytes.readUInt32LE(HeaderField.prev + 4) * 2 ** 32 + bytes.readUInt32LE(HeaderField.prev),
    rmgr: bytes[HeaderField.rmgr]!,
    info: bytes[HeaderField.info]!,
    blocks,
    mainData: mainLength === 0 ? EMPTY : bytes.subarray(at, total),
    origin,
    toplevelXid,
  };
}

/** `length` bytes, with the hole put back, must make one page; a compressed image proves that when it is restored. */
function isPossibleImage(flags: number, length: number, holeOffset: number, holeLength: number): boolean {
  if (flags & ~IMAGE_ALL_FLAGS) return false;
  const hasHole = (flags & IMAGE_HAS_HOLE) !== 0;
  if (hasHole !== holeLength > 0 || hasHole !== holeOffset > 0) return false;
  if (holeLength < 0 || holeOffset + holeLength > BLOCK_SIZE) return false;
  return flags & IMAGE_COMPRESSED ? length > 0 && length < BLOCK_SIZE : length + holeLength === BLOCK_SIZE;
}

function compressionOf(flags: number): BlockImage['compression'] {
  if ((flags & IMAGE_COMPRESSED) === 0) return 'none';
  if (flags & IMAGE_PGLZ) return 'pglz';
  return flags & IMAGE_LZ4 ? 'lz4' : 'zstd';
}
