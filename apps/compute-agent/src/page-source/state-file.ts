/**
 * The state file: which blocks of which files a compute has. The agent writes it before it starts Postgres and adds files
 * as they are first asked for; the interposer in every server process maps it. All numbers are little-endian.
 *
 *           0 ┌ header, 4096 bytes ──────────────────────────────────────────────────────────────┐
 *             │  0 magic "COPSTAT1"   8 u32 version (3)     12 u32 number of files               │
 *             │ 16 u64 nonce          24 u64 bytes in this file                                  │
 *             │ 32 u64 cap, blocks    40 i64 added, blocks  48 u32 wake-ups   52 u32 waiters     │
 *             │ 56 u32 shrinks        60 u32 number of databases                                 │
 *             │ 64 page source's socket path, 128 bytes     192 data directory, 1024 bytes       │
 *             │ 1216 u64 blocks at start                                                         │
 *             │ 2048 databases, at most 256: u64, its number in the upper half and in the lower  │
 *             │      the relation from which on names that are not listed are local              │
 *        4096 ├ 16,384 chains of files by the hash of their name, u32 each: first number + 1 ────┤
 *       69632 ├ files, 64 bytes each, in the order in which they became known; room for 2^22 ────┤
 *             │  0 name, 40 bytes, zero-filled                 40 u32 blocks at start            │
 *             │ 44 u32 tracked blocks  48 u64 position of block states                           │
 *             │ 56 u32 life: 0 alive, 2 gone                   60 u32 next of its chain, n + 1   │
 *   268505088 ├ block states, per block at start: 0 absent 1 loading 2 warm 3 clean 4 dirty ─────┤
 *             └──────────────────────────────────────────────────────────────────────────────────┘
 *
 * The file is sparse, so what a start costs does not depend on how many relations there are. Only the agent adds files; it
 * writes an entry, and what it points at, before the chain that leads to it. A listed file that is `gone` is not what
 * storage has under that name: if there is one, it was made here. Nor is a name of storage that is not listed, once the main
 * fork of its relation is, or once its database is known to have no relation of so high a number. What the server's processes change (added, states …) the
 * agent may read at any time; of what it wrote once it changes only the cap and the blocks at start.
 */
import { closeSync, fchownSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { CoppiceError } from '@coppice/service-kit';
import { BLOCK_SIZE } from '@coppice/vocabulary';
import { type BlockRange, blockRangeOf } from './tracked-names';

const MAGIC = Buffer.from('COPSTAT1', 'latin1');
const VERSION = 3;
const HEADER_BYTES = 4096;
const CHAINS = 16_384;
const FILES_AT = HEADER_BYTES + CHAINS * 4;
const FILE_BYTES = 64;
const MAX_FILES = 1 << 22;
/** Of which it is known what is local; the newest. */
const MAX_DATABASES = 256;
const STATES_AT = FILES_AT + MAX_FILES * FILE_BYTES;
/** Blocks that all listed files together may have: 32 TiB. */
const MAX_STATES = 2 ** 32;
const NAME_BYTES = 40;
const NO_CAP = (1n << 64n) - 1n;
const WARM = 2;
const GONE = 2;
const at = {
  files: 12,
  nonce: 16,
  fileBytes: 24,
  cap: 32,
  added: 40,
  socketPath: 64,
  dataDirectory: 192,
  blocksAtStart: 1216,
  databases: 60,
  localFrom: 2048,
} as const;
/** `sun_path` of a Unix socket address, without its terminating zero. */
const MAX_SOCKET_PATH = 107;
const MAX_DATA_DIRECTORY = 1023;

/** A file as it existed at the compute's start position, laid out as a sparse file of `blocks` blocks. */
export interface FileAtStart {
  /** Relative to the data directory: `base/5/16384.1`. */
  readonly name: string;
  readonly blocks: number;
  /** Blocks that are in the local file already (see `writeLayout`). */
  readonly warm?: readonly number[];
  /** There is no such file in storage; one of that name is local. Then it has no blocks. */
  readonly gone?: boolean;
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
  /** Those that are known from the start. */
  readonly files: readonly FileAtStart[];
  /** Blocks that all relation files together may have; without it there is no cap. */
  readonly capBlocks?: number;
  /** Blocks that all relation files together have, listed or not. */
  readonly blocksAtStart: number;
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
  readonly #fd: number;
  readonly #files: TrackedFile[] = [];
  readonly #names = new Set<string>();
  /** Of files that have warm blocks. */
  readonly #statesAt = new Map<string, number>();
  readonly #byte = Buffer.alloc(1);
  #blocksAtStart: number;
  readonly #chains = new Uint32Array(CHAINS);
  readonly #closing = new AbortController();
  /** By their place in the header. */
  readonly #databases: number[] = [];
  #nextDatabase = 0;
  #states = 0;

  private constructor(options: StateFileOptions, fd: number) {
    this.path = options.path;
    this.socketPath = options.socketPath;
    this.nonce = options.nonce;
    this.#fd = fd;
    this.#blocksAtStart = options.blocksAtStart;
  }

  /** Writes the state file of a compute that has not started. */
  static create(options: StateFileOptions): StateFile {
    const fd = openSync(options.path, 'wx+', 0o600);
    try {
      const state = new StateFile(options, fd);
      ftruncateSync(fd, STATES_AT + MAX_STATES);
      state.#writeHeader(options);
      for (const file of options.files) state.add(file);
      if (options.owner) fchownSync(fd, options.owner.uid, options.owner.gid);
      return state;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /** Fires when it is closed: what was asked for in its name is nobody's any more. */
  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  /** In the order of their numbers in the protocol. */
  get files(): readonly TrackedFile[] {
    return this.#files;
  }

  /** Whether a file of that name is listed. */
  has(name: string): boolean {
    return this.#names.has(name);
  }

  /** Lists a file; what is to be there of it is there already. */
  add(file: FileAtStart): void {
    const tracked = trackedFile(file);
    const { name, blocks } = tracked;
    this.closed.throwIfAborted();
    if (this.#names.has(name)) throw invalid(`${name} is listed twice`);
    const number = this.#files.length;
    if (number >= MAX_FILES || this.#states + blocks > MAX_STATES) {
      throw new CoppiceError(
        'Unavailable',
        'state-file-full',
        `a compute cannot use more than ${MAX_FILES} files or ${MAX_STATES} blocks of before its start`,
        {
          remedy: 'Suspend the endpoint: its next start begins anew.',
        },
      );
    }
    const position = STATES_AT + this.#states;
    if (file.warm) this.#write(statesOf(file, file.warm), position);
    if (file.warm) this.#statesAt.set(name, position);
    const chain = chainOf(name);
    const entry = Buffer.alloc(FILE_BYTES);
    entry.write(name, 0, 'latin1');
    entry.writeUInt32LE(blocks, 40);
    entry.writeUInt32LE(blocks, 44);
    entry.writeBigUInt64LE(BigInt(position), 48);
    entry.writeUInt32LE(file.gone ? GONE : 0, 56);
    entry.writeUInt32LE(this.#chains[chain]!, 60);
    this.#write(entry, FILES_AT + number * FILE_BYTES);
    this.#write(u32(number + 1), HEADER_BYTES + chain * 4);
    this.#write(u32(number + 1), at.files);
    this.#chains[chain] = number + 1;
    this.#states += blocks;
    this.#names.add(name);
    this.#files.push(tracked);
  }

  /**
   * Says that names of a database that are not listed are local from this relation number on: storage has no such file. The
   * server's processes do not ask for them any more, until 256 other databases were named since.
   */
  setLocalFrom(database: number, relation: number): void {
    let place = this.#databases.indexOf(database);
    if (place < 0) {
      place = this.#nextDatabase;
      this.#nextDatabase = (place + 1) % MAX_DATABASES;
    }
    // In one piece: a process may read it at the same time.
    this.#write(u64((BigInt(database) << 32n) | BigInt(relation)), at.localFrom + place * 8);
    this.#databases[place] = database;
    this.#write(u32(this.#databases.length), at.databases);
  }

  /** How much is stored now, as the server's processes count it. */
  use(): StorageUse {
    const buffer = Buffer.alloc(16);
    if (readSync(this.#openFd(), buffer, 0, 16, at.cap) !== 16)
      throw new CoppiceError('Corrupt', 'state-file-short', `the state file ${this.path} is too short`);
    const cap = buffer.readBigUInt64LE(0);
    const added = Number(buffer.readBigInt64LE(8));
    return {
      usedBlocks: Math.max(0, this.#blocksAtStart + added),
      capBlocks: cap === NO_CAP ? undefined : Number(cap),
    };
  }

  /** Whether nobody has read the block that was laid out with its file. */
  isUnread(name: string, block: number): boolean {
    const states = this.#statesAt.get(name);
    if (states === undefined) return false;
    readSync(this.#openFd(), this.#byte, 0, 1, states + block);
    return this.#byte[0] === WARM;
  }

  /** Sets the cap of the running compute; it holds for the next block that is added. */
  setCap(capBlocks: number | undefined): void {
    this.#write(u64(capBlocks === undefined ? NO_CAP : BigInt(capBlocks)), at.cap);
  }

  /** Corrects what `create` was told. */
  setBlocksAtStart(blocks: number): void {
    this.#write(u64(BigInt(blocks)), at.blocksAtStart);
    this.#blocksAtStart = blocks;
  }

  /** From here on all that reads or writes the file throws: the number of its descriptor may be another compute's by then. */
  close(): void {
    if (this.closed.aborted) return;
    closeSync(this.#fd);
    this.#closing.abort(
      new CoppiceError('Unavailable', 'state-file-closed', `the compute of ${this.path} has ended`),
    );
  }

  #openFd(): number {
    this.closed.throwIfAborted();
    return this.#fd;
  }

  #writeHeader({ nonce, capBlocks, blocksAtStart, socketPath, dataDirectory }: StateFileOptions): void {
    const head = Buffer.alloc(HEADER_BYTES);
    MAGIC.copy(head);
    head.writeUInt32LE(VERSION, 8);
    head.writeBigUInt64LE(nonce, at.nonce);
    head.writeBigUInt64LE(BigInt(STATES_AT + MAX_STATES), at.fileBytes);
    head.writeBigUInt64LE(capBlocks === undefined ? NO_CAP : BigInt(capBlocks), at.cap);
    head.writeBigUInt64LE(BigInt(blocksAtStart), at.blocksAtStart);
    writePath(head, socketPath, at.socketPath, MAX_SOCKET_PATH);
    writePath(head, dataDirectory, at.dataDirectory, MAX_DATA_DIRECTORY);
    this.#write(head, 0);
  }

  #write(bytes: Buffer, position: number): void {
    const fd = this.#openFd();
    for (let done = 0; done < bytes.length; )
      done += writeSync(fd, bytes, done, bytes.length - done, position + done);
  }
}

function trackedFile({ name, blocks, gone }: FileAtStart): TrackedFile {
  const range = blockRangeOf(name);
  if (!range || name.length >= NAME_BYTES) throw invalid(`${name} is not the name of a tracked file`);
  if (!Number.isInteger(blocks) || blocks < 0 || blocks > (gone ? 0 : range.maxBlocks))
    throw invalid(`${name} cannot have ${blocks} blocks`);
  return { name, blocks, range };
}

/** FNV-1a, as in the interposer. */
function chainOf(name: string): number {
  let hash = 2166136261;
  for (let i = 0; i < name.length; i += 1) hash = Math.imul(hash ^ name.charCodeAt(i), 16777619);
  return (hash >>> 0) % CHAINS;
}

/** Up to the last warm block: what lies behind is absent, as a hole is. */
function statesOf({ name, blocks }: FileAtStart, warm: readonly number[]): Buffer {
  const states = Buffer.alloc(Math.min(blocks, Math.max(...warm, 0) + 1));
  for (const block of warm) {
    if (block < 0 || block >= blocks) throw invalid(`${name} has no block ${block} to be warm`);
    states[block] = WARM;
  }
  return states;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
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
