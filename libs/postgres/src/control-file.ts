/**
 * `global/pg_control` of PostgreSQL 17 (`ControlFileData`, src/include/catalog/pg_control.h): 292 bytes in a file of 8192.
 * Offsets are those of the 64-bit little-endian layout; what lies between the fields is padding.
 *
 *     0  system identifier u64        128  unlogged LSN u64               216  block size u32, segment size in blocks u32
 *     8  control version u32 (1700)   136  min recovery point u64, u32    224  WAL page size u32, WAL segment size u32
 *    12  catalog version u32          152  backup start u64, end u64      232  name length, index keys, toast chunk, large
 *    16  state u32                    168  backup end required u8              object chunk: u32 each
 *    24  time i64 (seconds, Unix)     172  settings of the last run       248  float8 by value u8
 *    32  checkpoint record u64        204  alignment u32                  252  data checksum version u32
 *    40  copy of that checkpoint, 88  208  1234567.0 f64                  256  nonce, 32 bytes     288  CRC-32C of 0..287
 */
import { crc32c } from '@coppice/bytes';
import { BLOCK_SIZE, BLOCKS_PER_SEGMENT, type LsnNumber } from '@coppice/vocabulary';
import { CHECKPOINT_SIZE, type Checkpoint, decodeCheckpoint, encodeCheckpoint } from './checkpoint';
import { WAL_PAGE_SIZE, WAL_SEGMENT_SIZE } from './wal/page-header';

export const CONTROL_FILE_SIZE = 8192;
const DATA_SIZE = 292;
const CRC_OFFSET = 288;
const CHECKPOINT_OFFSET = 40;

/** `PG_CONTROL_VERSION` and `CATALOG_VERSION_NO` of PostgreSQL 17. */
export const CONTROL_VERSION = 1700;
export const CATALOG_VERSION = 202406281;

/** `DBState`. */
export const DatabaseState = {
  startup: 0,
  shutDown: 1,
  shutDownInRecovery: 2,
  shuttingDown: 3,
  inCrashRecovery: 4,
  inArchiveRecovery: 5,
  inProduction: 6,
} as const;
export type DatabaseStateNumber = (typeof DatabaseState)[keyof typeof DatabaseState];

/** The settings that recovery compares with; PostgreSQL logs a change of them at its next start. */
export interface ControlSettings {
  readonly walLevel: number;
  readonly walLogHints: boolean;
  readonly maxConnections: number;
  readonly maxWorkerProcesses: number;
  readonly maxWalSenders: number;
  readonly maxPreparedXacts: number;
  readonly maxLocksPerXact: number;
  readonly trackCommitTimestamp: boolean;
}

export interface ControlFile {
  readonly systemIdentifier: bigint;
  readonly catalogVersion: number;
  readonly state: DatabaseStateNumber;
  /** Seconds since 1970. */
  readonly time: bigint;
  /** Where the last checkpoint's record starts. */
  readonly checkpointLsn: LsnNumber;
  readonly checkpoint: Checkpoint;
  /** Counter for pages of unlogged relations; PostgreSQL starts it at 1000. */
  readonly unloggedLsn: LsnNumber;
  readonly minRecoveryPoint: LsnNumber;
  readonly minRecoveryTimelineNumber: number;
  readonly backupStart: LsnNumber;
  readonly backupEnd: LsnNumber;
  readonly backupEndRequired: boolean;
  readonly settings: ControlSettings;
  /** 0 when pages carry no checksums. */
  readonly dataChecksumVersion: number;
  /** 32 random bytes for authentication of unknown users. */
  readonly nonce: Buffer;
}

/** A control file of another version or build, or a damaged one. */
export class UnusableControlFile extends Error {
  constructor(reason: string) {
    super(`pg_control cannot be used: ${reason}`);
    this.name = 'UnusableControlFile';
  }
}

/** What every PostgreSQL 17 that can share files with ours was built with, by offset. */
const BUILD: readonly { readonly name: string; readonly at: number; readonly value: number }[] = [
  { name: 'maximum alignment', at: 204, value: 8 },
  { name: 'block size', at: 216, value: BLOCK_SIZE },
  { name: 'blocks per segment', at: 220, value: BLOCKS_PER_SEGMENT },
  { name: 'WAL page size', at: 224, value: WAL_PAGE_SIZE },
  { name: 'WAL segment size', at: 228, value: WAL_SEGMENT_SIZE },
  { name: 'length of names', at: 232, value: 64 },
  { name: 'columns in an index', at: 236, value: 32 },
  { name: 'toast chunk size', at: 240, value: 1996 },
  { name: 'large object chunk size', at: 244, value: 2048 },
];
const FLOAT_FORMAT = 1234567;

/** Reads a control file. Throws `UnusableControlFile`. */
export function decodeControlFile(bytes: Buffer): ControlFile {
  if (bytes.length < DATA_SIZE) throw new UnusableControlFile(`it has ${bytes.length} bytes`);
  const version = bytes.readUInt32LE(8);
  if (version !== CONTROL_VERSION)
    throw new UnusableControlFile(`its version is ${version}, PostgreSQL 17's is ${CONTROL_VERSION}`);
  if (crc32c(bytes.subarray(0, CRC_OFFSET)) !== bytes.readUInt32LE(CRC_OFFSET)) {
    throw new UnusableControlFile('its checksum is wrong');
  }
  for (const { name, at, value } of BUILD) {
    const said = bytes.readUInt32LE(at);
    if (said !== value) throw new UnusableControlFile(`${name} is ${said}, expected ${value}`);
  }
  if (bytes.readDoubleLE(208) !== FLOAT_FORMAT || bytes[248] !== 1)
    throw new UnusableControlFile('it is of another architecture');
  const u64 = (at: number): number => Number(bytes.readBigUInt64LE(at));
  return {
    systemIdentifier: bytes.readBigUInt64LE(0),
    catalogVersion: bytes.readUInt32LE(12),
    state: bytes.readUInt32LE(16) as DatabaseStateNumber,
    time: bytes.readBigInt64LE(24),
    checkpointLsn: u64(32),
    checkpoint: decodeCheckpoint(bytes.subarray(CHECKPOINT_OFFSET, CHECKPOINT_OFFSET + CHECKPOINT_SIZE)),
    unloggedLsn: u64(128),
    minRecoveryPoint: u64(136),
    minRecoveryTimelineNumber: bytes.readUInt32LE(144),
    backupStart: u64(152),
    backupEnd: u64(160),
    backupEndRequired: bytes[168] !== 0,
    settings: {
      walLevel: bytes.readInt32LE(172),
      walLogHints: bytes[176] !== 0,
      maxConnections: bytes.readInt32LE(180),
      maxWorkerProcesses: bytes.readInt32LE(184),
      maxWalSenders: bytes.readInt32LE(188),
      maxPreparedXacts: bytes.readInt32LE(192),
      maxLocksPerXact: bytes.readInt32LE(196),
      trackCommitTimestamp: bytes[200] !== 0,
    },
    dataChecksumVersion: bytes.readUInt32LE(252),
    nonce: Buffer.from(bytes.subarray(256, CRC_OFFSET)),
  };
}

/** The whole file, 8192 bytes. */
export function encodeControlFile(control: ControlFile): Buffer {
  const bytes = Buffer.alloc(CONTROL_FILE_SIZE);
  const u64 = (at: number, value: number): number => bytes.writeBigUInt64LE(BigInt(value), at);
  const { settings } = control;
  bytes.writeBigUInt64LE(control.systemIdentifier, 0);
  bytes.writeUInt32LE(CONTROL_VERSION, 8);
  bytes.writeUInt32LE(control.catalogVersion, 12);
  bytes.writeUInt32LE(control.state, 16);
  bytes.writeBigInt64LE(control.time, 24);
  u64(32, control.checkpointLsn);
  encodeCheckpoint(control.checkpoint).copy(bytes, CHECKPOINT_OFFSET);
  u64(128, control.unloggedLsn);
  u64(136, control.minRecoveryPoint);
  bytes.writeUInt32LE(control.minRecoveryTimelineNumber, 144);
  u64(152, control.backupStart);
  u64(160, control.backupEnd);
  bytes[168] = control.backupEndRequired ? 1 : 0;
  bytes.writeInt32LE(settings.walLevel, 172);
  bytes[176] = settings.walLogHints ? 1 : 0;
  bytes.writeInt32LE(settings.maxConnections, 180);
  bytes.writeInt32LE(settings.maxWorkerProcesses, 184);
  bytes.writeInt32LE(settings.maxWalSenders, 188);
  bytes.writeInt32LE(settings.maxPreparedXacts, 192);
  bytes.writeInt32LE(settings.maxLocksPerXact, 196);
  bytes[200] = settings.trackCommitTimestamp ? 1 : 0;
  bytes.writeDoubleLE(FLOAT_FORMAT, 208);
  for (const { at, value } of BUILD) bytes.writeUInt32LE(value, at);
  bytes[248] = 1;
  bytes.writeUInt32LE(control.dataChecksumVersion, 252);
  control.nonce.copy(bytes, 256, 0, 32);
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, CRC_OFFSET)), CRC_OFFSET);
  return bytes;
}

/**
 * The control file of a cluster that was shut down cleanly by the checkpoint whose record starts at `checkpoint.redo`: a
 * server that finds it starts without recovery and writes on behind that record. `nonce` is 32 random bytes.
 */
export function shutDownControlFile(options: {
  readonly systemIdentifier: bigint;
  readonly checkpoint: Checkpoint;
  readonly settings: ControlSettings;
  readonly nonce: Buffer;
}): ControlFile {
  const { systemIdentifier, checkpoint, settings, nonce } = options;
  return {
    systemIdentifier,
    catalogVersion: CATALOG_VERSION,
    state: DatabaseState.shutDown,
    time: checkpoint.time,
    checkpointLsn: checkpoint.redo,
    checkpoint,
    unloggedLsn: 1000,
    minRecoveryPoint: 0,
    minRecoveryTimelineNumber: 0,
    backupStart: 0,
    backupEnd: 0,
    backupEndRequired: false,
    settings,
    dataChecksumVersion: 0,
    nonce,
  };
}
