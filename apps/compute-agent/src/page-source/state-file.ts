/**
 * The state file: which blocks of which files a compute has. The agent writes it before it starts Postgres; the
 * interposer in every server process maps it. All numbers are little-endian.
 *
 *      0  ┌ header, 4096 bytes ───────────────────────────────────────────────────────────────┐
 *         │  0 magic "COPSTAT1"   8 u32 version (1)     12 u32 number of files                │
 *         │ 16 u64 nonce          24 u64 bytes in this file                                   │
 *         │ 32 u64 cap, blocks    40 u64 used, blocks   48 u32 wake-ups   52 u32 waiters      │
 *         │ 56 u32 shrinks        60 u32 zero                                                 │
 *         │ 64 page source's socket path, 128 bytes     192 data directory, 1024 bytes        │
 *   4096  ├ files, 64 bytes each, sorted by name (as bytes) ──────────────────────────────────┤
 *         │  0 name, 40 bytes, zero-filled              40 u32 blocks at start                │
 *         │ 44 u32 tracked blocks  48 u64 position of block states   56 u32 life  60 u32 zero │
 *         ├ block states, one byte per block at start: 0 absent 1 loading 2 clean 3 dirty ────┤
 *         └───────────────────────────────────────────────────────────────────────────────────┘
 *
 * The list of files never grows while the compute runs: a file that is not listed was made by this compute. What the
 * server's processes change (used, states …) the agent may read at any time; it writes only the cap.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { CoppiceError } from '@coppice/service-kit';
import { BLOCK_SIZE } from '@coppice/vocabulary';
import { type BlockRange, blockRangeOf } from './tracked-names';

const MAGIC = Buffer.from('COPSTAT1', 'latin1');
const VERSION = 1;
const HEADER_BYTES = 4096;
const FILE_BYTES = 64;
const NAME_BYTES = 40;
const NO_CAP = (1n << 64n) - 1n;
const CLEAN = 2;
const at = { nonce: 16, fileBytes: 24, cap: 32, used: 40, socketPath: 64, dataDirectory: 192 } as const;
/** `sun_path` of a Unix socket address, without its terminating zero. */
const MAX_SOCKET_PATH = 107;
const MAX_DATA_DIRECTORY = 1023;

/** A file as it existed at the compute's start position, laid out as a sparse file of `blocks` blocks. */
export interface FileAtStart {
  /** Relative to the data directory: `base/5/16384.1`. */
  readonly name: string;
  readonly blocks: number;
  /** Blocks that are in the local file already (see `installPages`), or all of them. */
  readonly present?: 'all' | readonly number[];
}

export interface TrackedFile {
  readonly name: string;
  readonly blocks: number;
  readonly range: BlockRange;
}

export interface StateFileOptions {
  /** Where to write it; outside the data directory. Must not exist. */
  readonly path: string;
  /** Where the page source listens; at most 107 bytes. */
  readonly socketPath: string;
  readonly dataDirectory: string;
  /** Tells apart the page sources of different computes; random. */
  readonly nonce: bigint;
  readonly files: readonly FileAtStart[];
  /** Blocks that all relation files together may have; without it there is no cap. */
  readonly capBlocks?: number;
  /** Blocks of relation files laid out whole and so not in `files` (unlogged relations): they count as used, too. */
  readonly localBlocks?: number;
  /** Who runs Postgres, when that is somebody else. */
  readonly owner?: { readonly uid: number; readonly gid: number };
}

export interface StorageUse {
  readonly usedBlocks: number;
  readonly capBlocks: number | undefined;
}

export class StateFile {
  readonly path: string;
  readonly socketPath: string;
  readonly nonce: bigint;
  /** In the order of their numbers in the protocol. */
  readonly files: readonly TrackedFile[];
  readonly #handle: FileHandle;

  private constructor(options: StateFileOptions, files: readonly TrackedFile[], handle: FileHandle) {
    this.path = options.path;
    this.socketPath = options.socketPath;
    this.nonce = options.nonce;
    this.files = files;
    this.#handle = handle;
  }

  /** Writes the state file of a compute that has not started. */
  static async create(options: StateFileOptions): Promise<StateFile> {
    const files = options.files
      .map(trackedFile)
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    files.forEach((file, i) => {
      if (files[i - 1]?.name === file.name) throw invalid(`${file.name} is listed twice`);
    });
    const handle = await open(options.path, 'wx+', 0o600);
    try {
      await write(handle, options, files);
      if (options.owner) await handle.chown(options.owner.uid, options.owner.gid);
    } catch (error) {
      await handle.close();
      throw error;
    }
    return new StateFile(options, files, handle);
  }

  /** How much is stored now, as the server's processes count it. */
  async use(): Promise<StorageUse> {
    const { buffer, bytesRead } = await this.#handle.read(Buffer.alloc(16), 0, 16, at.cap);
    if (bytesRead !== 16)
      throw new CoppiceError('Corrupt', 'state-file-short', `the state file ${this.path} is too short`);
    const cap = buffer.readBigUInt64LE(0);
    const used = Number(buffer.readBigInt64LE(8));
    return { usedBlocks: Math.max(0, used), capBlocks: cap === NO_CAP ? undefined : Number(cap) };
  }

  /** Sets the cap of the running compute; it holds for the next block that is added. */
  async setCap(capBlocks: number | undefined): Promise<void> {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(capBlocks === undefined ? NO_CAP : BigInt(capBlocks));
    await this.#handle.write(bytes, 0, 8, at.cap);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

function trackedFile({ name, blocks }: FileAtStart): TrackedFile {
  const range = blockRangeOf(name);
  if (!range || name.length >= NAME_BYTES) throw invalid(`${name} is not the name of a tracked file`);
  if (!Number.isInteger(blocks) || blocks < 0 || blocks > range.maxBlocks)
    throw invalid(`${name} cannot have ${blocks} blocks`);
  return { name, blocks, range };
}

async function write(
  handle: FileHandle,
  options: StateFileOptions,
  files: readonly TrackedFile[],
): Promise<void> {
  const head = Buffer.alloc(HEADER_BYTES + files.length * FILE_BYTES);
  const statesAt = new Map<string, number>();
  let position = head.length;
  let used = options.localBlocks ?? 0;
  files.forEach((file, i) => {
    const start = HEADER_BYTES + i * FILE_BYTES;
    head.write(file.name, start, 'latin1');
    head.writeUInt32LE(file.blocks, start + 40);
    head.writeUInt32LE(file.blocks, start + 44);
    head.writeBigUInt64LE(BigInt(position), start + 48);
    statesAt.set(file.name, position);
    position += file.blocks;
    if (file.range.relation) used += file.blocks;
  });
  MAGIC.copy(head);
  head.writeUInt32LE(VERSION, 8);
  head.writeUInt32LE(files.length, 12);
  head.writeBigUInt64LE(options.nonce, at.nonce);
  head.writeBigUInt64LE(BigInt(position), at.fileBytes);
  head.writeBigUInt64LE(options.capBlocks === undefined ? NO_CAP : BigInt(options.capBlocks), at.cap);
  head.writeBigUInt64LE(BigInt(used), at.used);
  writePath(head, options.socketPath, at.socketPath, MAX_SOCKET_PATH);
  writePath(head, options.dataDirectory, at.dataDirectory, MAX_DATA_DIRECTORY);
  await handle.truncate(position);
  await handle.write(head, 0, head.length, 0);
  for (const file of options.files) {
    if (file.present) await writePresent(handle, file, file.present, statesAt.get(file.name) as number);
  }
}

async function writePresent(
  handle: FileHandle,
  file: FileAtStart,
  present: 'all' | readonly number[],
  start: number,
): Promise<void> {
  const states = Buffer.alloc(file.blocks, present === 'all' ? CLEAN : 0);
  if (present !== 'all') {
    for (const block of present) {
      if (block < 0 || block >= file.blocks)
        throw invalid(`${file.name} has no block ${block} to be present`);
      states[block] = CLEAN;
    }
  }
  await handle.write(states, 0, states.length, start);
}

function writePath(head: Buffer, path: string, position: number, limit: number): void {
  const bytes = Buffer.from(path);
  if (bytes.length > limit || bytes.includes(0)) throw invalid(`${path} is longer than ${limit} bytes`);
  bytes.copy(head, position);
}

function invalid(message: string): CoppiceError {
  return new CoppiceError('Invalid', 'state-file-invalid', message);
}

/** Blocks in `bytes`, for caps and quotas that are given in bytes. */
export function blocksIn(bytes: number): number {
  return Math.ceil(bytes / BLOCK_SIZE);
}
