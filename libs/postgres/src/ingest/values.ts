/**
 * The values of keys that are not pages, as the page store keeps them. Each is a whole; no bytes at all are a tombstone.
 * Little-endian; stored in layer files, so a form never changes its meaning.
 *
 *   relation size       blocks u32
 *   SLRU segment size   pages u32
 *   database            PostgreSQL major u16
 *   relation map        pg_filenode.map as it is, 524 bytes
 *   two-phase           the prepare record's main data: the state file without its CRC-32C
 *   origin              remote lsn u64
 *   carried file        path length u16 │ path │ content
 *   commit time         position u64: where the commit record ends
 *   checkpoint          version u8 = 1 │ wal level u8 │ next oid u32 │ system identifier u64 │ next full xid u64 │ next multi u32 │
 *                       next multi offset u32 │ oldest xid u32, its database u32 │ oldest multi u32, its database u32 │
 *                       oldest and newest commit timestamp xid u32, u32 │ record start u64 │ record end u64
 */
import { ByteReader, ByteWriter, EndOfBytes } from '@coppice/bytes';
import type { LsnNumber } from '@coppice/vocabulary';
import { CorruptPageValue } from '../redo/small-records';
import { nextFullXid } from './checkpoint-state';
import type { CheckpointState } from './checkpoint-state';

export const TOMBSTONE = Buffer.alloc(0);

const CHECKPOINT_VERSION = 1;

function decoder<T>(what: string, read: (reader: ByteReader) => T): (bytes: Buffer) => T {
  return (bytes) => {
    const reader = new ByteReader(bytes);
    try {
      const value = read(reader);
      if (reader.remaining > 0) throw new CorruptPageValue(`${what} has ${reader.remaining} bytes too many`);
      return value;
    } catch (error) {
      if (error instanceof EndOfBytes)
        throw new CorruptPageValue(`${what} of ${bytes.length} bytes is cut short`);
      throw error;
    }
  };
}

function u32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32LE(value, 0);
  return bytes;
}

function lsnBytes(value: LsnNumber): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64LE(BigInt(value), 0);
  return bytes;
}

function readLsn(reader: ByteReader): LsnNumber {
  return Number(reader.u64le());
}

/** Size of a relation fork in blocks. */
export const encodeRelationSize = u32;
export const decodeRelationSize = decoder('relation size', (reader) => reader.u32le());

/** Size of an SLRU segment in pages. */
export const encodeSlruSegmentSize = u32;
export const decodeSlruSegmentSize = decoder('SLRU segment size', (reader) => reader.u32le());

/** A database directory: the major version that its `PG_VERSION` says. */
export function encodeDatabase(major: number): Buffer {
  return new ByteWriter(2).u16le(major).finish();
}
export const decodeDatabase = decoder('database', (reader) => reader.u16le());

export function encodeOriginProgress(remoteLsn: bigint): Buffer {
  return new ByteWriter(8).u64le(remoteLsn).finish();
}
export const decodeOriginProgress = decoder('replication origin', (reader) => reader.u64le());

/** Where the last record of a commit ends. */
export const encodeCommitPosition = lsnBytes;
export const decodeCommitPosition = decoder('commit time', readLsn);

export interface CarriedFile {
  readonly path: string;
  readonly content: Buffer;
}

export function encodeCarriedFile({ path, content }: CarriedFile): Buffer {
  const name = Buffer.from(path, 'utf8');
  return new ByteWriter(2 + name.length + content.length).u16le(name.length).raw(name).raw(content).finish();
}
export const decodeCarriedFile = decoder('carried file', (reader): CarriedFile => {
  const path = reader.take(reader.u16le()).toString('utf8');
  return { path, content: reader.take(reader.remaining) };
});

export function encodeCheckpointState(state: CheckpointState): Buffer {
  return new ByteWriter(96)
    .u8(CHECKPOINT_VERSION)
    .u8(state.walLevel)
    .u32le(state.nextOid)
    .u64le(state.systemIdentifier)
    .u64le(nextFullXid(state))
    .u32le(state.nextMulti)
    .u32le(state.nextMultiOffset)
    .u32le(state.oldestXid)
    .u32le(state.oldestXidDb)
    .u32le(state.oldestMulti)
    .u32le(state.oldestMultiDb)
    .u32le(state.oldestCommitTsXid)
    .u32le(state.newestCommitTsXid)
    .raw(lsnBytes(state.recordLsn))
    .raw(lsnBytes(state.recordEndLsn))
    .finish();
}

export const decodeCheckpointState = decoder('checkpoint', (reader): CheckpointState => {
  const version = reader.u8();
  if (version !== CHECKPOINT_VERSION) throw new CorruptPageValue(`checkpoint of unknown version ${version}`);
  const walLevel = reader.u8();
  const nextOid = reader.u32le();
  const systemIdentifier = reader.u64le();
  const nextXid = reader.u32le();
  const nextXidEpoch = reader.u32le();
  return {
    walLevel,
    nextOid,
    systemIdentifier,
    nextXid,
    nextXidEpoch,
    nextMulti: reader.u32le(),
    nextMultiOffset: reader.u32le(),
    oldestXid: reader.u32le(),
    oldestXidDb: reader.u32le(),
    oldestMulti: reader.u32le(),
    oldestMultiDb: reader.u32le(),
    oldestCommitTsXid: reader.u32le(),
    newestCommitTsXid: reader.u32le(),
    recordLsn: readLsn(reader),
    recordEndLsn: readLsn(reader),
  };
});
