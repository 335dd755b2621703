/**
 * `CheckPoint` (src/include/catalog/pg_control.h), 88 bytes: the body of checkpoint records and a part of `pg_control`.
 *
 *   ┌──────┬───────────┬─────────┬──────────────────┬─────────┬───────────┬─────────┬───────────┬─────────────────┐
 *   │ redo │ timeline  │ previous│ full_page_writes │ padding │ wal_level │ nextXid │  nextOid  │    nextMulti    │
 *   │ u64  │   u32     │   u32   │       u8         │    3    │    i32    │   u64   │    u32    │       u32       │
 *   ├──────┴─────────┬─┴─────────┼─────────────┬────┴─────────┼───────────┴───┬─────┴───┬───────┴─────────────────┤
 *   │ nextMultiOffset│ oldestXid │ oldestXidDb │ oldestMulti  │ oldestMultiDb │ padding │ time (seconds, Unix)    │
 *   │      u32       │    u32    │     u32     │     u32      │      u32      │    4    │   i64                   │
 *   ├────────────────┴────┬──────┴────────────┬┴──────────────┴────┬─────────┬┴─────────┴─────────────────────────┘
 *   │  oldestCommitTsXid  │ newestCommitTsXid │  oldestActiveXid   │ padding │                         little-endian
 *   │        u32          │        u32        │        u32         │    4    │
 *   └─────────────────────┴───────────────────┴────────────────────┴─────────┘
 */
import { ByteReader, ByteWriter } from '@coppice/bytes';
import type { LsnNumber } from '@coppice/vocabulary';

export const CHECKPOINT_SIZE = 88;

/** PostgreSQL's number for each `wal_level`. */
export const WalLevel = { minimal: 0, replica: 1, logical: 2 } as const;

export interface Checkpoint {
  /** Where replay starts; of a shutdown checkpoint, where its own record starts. */
  readonly redo: LsnNumber;
  readonly timelineNumber: number;
  readonly previousTimelineNumber: number;
  readonly fullPageWrites: boolean;
  readonly walLevel: number;
  /** 64 bits: epoch and transaction id. */
  readonly nextXid: bigint;
  readonly nextOid: number;
  readonly nextMulti: number;
  readonly nextMultiOffset: number;
  readonly oldestXid: number;
  readonly oldestXidDb: number;
  readonly oldestMulti: number;
  readonly oldestMultiDb: number;
  /** Seconds since 1970. */
  readonly time: bigint;
  readonly oldestCommitTsXid: number;
  readonly newestCommitTsXid: number;
  /** 0 in a shutdown checkpoint. */
  readonly oldestActiveXid: number;
}

/** Reads a checkpoint from the start of `bytes`. Throws `EndOfBytes` when there are fewer than 88. */
export function decodeCheckpoint(bytes: Uint8Array): Checkpoint {
  const reader = new ByteReader(bytes);
  const redo = Number(reader.u64le());
  const timelineNumber = reader.u32le();
  const previousTimelineNumber = reader.u32le();
  const fullPageWrites = reader.u8() !== 0;
  reader.skip(3);
  const walLevel = reader.i32le();
  const nextXid = reader.u64le();
  const nextOid = reader.u32le();
  const nextMulti = reader.u32le();
  const nextMultiOffset = reader.u32le();
  const oldestXid = reader.u32le();
  const oldestXidDb = reader.u32le();
  const oldestMulti = reader.u32le();
  const oldestMultiDb = reader.u32le();
  reader.skip(4);
  const time = reader.i64le();
  const oldestCommitTsXid = reader.u32le();
  const newestCommitTsXid = reader.u32le();
  const oldestActiveXid = reader.u32le();
  reader.skip(4);
  return {
    redo,
    timelineNumber,
    previousTimelineNumber,
    fullPageWrites,
    walLevel,
    nextXid,
    nextOid,
    nextMulti,
    nextMultiOffset,
    oldestXid,
    oldestXidDb,
    oldestMulti,
    oldestMultiDb,
    time,
    oldestCommitTsXid,
    newestCommitTsXid,
    oldestActiveXid,
  };
}

/** The 88 bytes of a checkpoint. */
export function encodeCheckpoint(checkpoint: Checkpoint): Buffer {
  return new ByteWriter(CHECKPOINT_SIZE)
    .u64le(BigInt(checkpoint.redo))
    .u32le(checkpoint.timelineNumber)
    .u32le(checkpoint.previousTimelineNumber)
    .u8(checkpoint.fullPageWrites ? 1 : 0)
    .zeros(3)
    .i32le(checkpoint.walLevel)
    .u64le(checkpoint.nextXid)
    .u32le(checkpoint.nextOid)
    .u32le(checkpoint.nextMulti)
    .u32le(checkpoint.nextMultiOffset)
    .u32le(checkpoint.oldestXid)
    .u32le(checkpoint.oldestXidDb)
    .u32le(checkpoint.oldestMulti)
    .u32le(checkpoint.oldestMultiDb)
    .zeros(4)
    .i64le(checkpoint.time)
    .u32le(checkpoint.oldestCommitTsXid)
    .u32le(checkpoint.newestCommitTsXid)
    .u32le(checkpoint.oldestActiveXid)
    .zeros(4)
    .finish();
}
