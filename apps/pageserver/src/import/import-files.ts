/**
 * Makes a timeline's first versions of the files of a cleanly stopped data directory. The result is an image layer: every
 * key that exists with its value, sorted. Pages of zeros are left out: a missing page within its size is zeros.
 */
import {
  DatabaseState,
  UnusableControlFile,
  dataFileOf,
  decodeControlFile,
  encodeCheckpointState,
  encodeDatabase,
  encodeOriginProgress,
  encodeRelationSize,
  encodeSlruSegmentSize,
  shutdownCheckpointRecord,
  stateFromCheckpoint,
} from '@coppice/postgres';
import type { ControlFile, DataFile } from '@coppice/postgres';
import { CoppiceError } from '@coppice/service-kit';
import {
  BLOCKS_PER_SEGMENT,
  BLOCK_SIZE,
  CHECKPOINT_KEY,
  Fork,
  GLOBAL_TABLESPACE,
  SLRU_PAGES_PER_SEGMENT,
  databaseKey,
  relationBlockKey,
  relationMapKey,
  relationSizeKey,
  replicationOriginKey,
  slruPageKey,
  slruSegmentSizeKey,
  twoPhaseKey,
} from '@coppice/vocabulary';
import type { LsnNumber, PageKey, RelationFork, SlruNumber } from '@coppice/vocabulary';

const POSTGRES_MAJOR = 17;
const ZEROS = Buffer.alloc(BLOCK_SIZE);
const MAX_BYTES = 512 * 1024 * 1024;
/** `REPLICATION_STATE_MAGIC`, src/backend/replication/logical/origin.c. */
const ORIGINS_MAGIC = 0x1257dade;
const CHECKSUM_BYTES = 4;

export interface FileChunk {
  /** Relative to the data directory. */
  readonly path: string;
  /** The next bytes of the file. */
  readonly content: Buffer;
}

export interface ImportedCluster {
  /** The end of the shutdown checkpoint: the position of all versions. */
  readonly lsn: LsnNumber;
  /** Where that checkpoint's record starts. */
  readonly lastRecordLsn: LsnNumber;
  readonly systemIdentifier: bigint;
  /** Blocks of all main forks. */
  readonly logicalBlocks: number;
  /** In ascending order of keys. */
  readonly entries: readonly (readonly [PageKey, Buffer])[];
}

/** Reads files, in any order, each in one or more chunks. Throws `Invalid` when they are not a cleanly stopped cluster. */
export async function importFiles(
  chunks: AsyncIterable<FileChunk> | Iterable<FileChunk>,
): Promise<ImportedCluster> {
  const files = new Map<string, Buffer[]>();
  let bytes = 0;
  for await (const { path, content } of chunks) {
    bytes += content.length;
    if (bytes > MAX_BYTES)
      throw invalid(
        `the files are more than ${MAX_BYTES} bytes`,
        'Import an empty cluster and load data through SQL.',
      );
    const known = files.get(path);
    if (known) known.push(content);
    else files.set(path, [content]);
  }
  const cluster = new ClusterEntries();
  for (const [path, parts] of files) cluster.add(path, parts.length === 1 ? parts[0]! : Buffer.concat(parts));
  return cluster.finish();
}

class ClusterEntries {
  readonly #entries = new Map<PageKey, Buffer>();
  readonly #sizes = new Map<PageKey, { readonly fork: RelationFork; blocks: number }>();
  #checkpoint: Pick<ImportedCluster, 'lsn' | 'lastRecordLsn' | 'systemIdentifier'> | undefined;

  add(path: string, content: Buffer): void {
    const file = dataFileOf(path);
    if (!file)
      throw invalid(
        `${path} has no place in a data directory with one tablespace`,
        'Import a fresh cluster made by initdb.',
      );
    this.#addFile(path, file, content);
  }

  #addFile(path: string, file: DataFile, content: Buffer): void {
    switch (file.kind) {
      case 'relation':
        return this.#addRelation(path, file.fork, file.segment, content);
      case 'slru':
        return this.#addSlru(path, file.slru, file.segment, content);
      case 'database':
        this.#entries.set(databaseKey(file.tablespace, file.database), encodeDatabase(POSTGRES_MAJOR));
        return;
      case 'relation-map':
        this.#entries.set(relationMapKey(file.tablespace, file.database), content);
        return;
      case 'two-phase':
        this.#entries.set(twoPhaseKey(file.fullXid), content.subarray(0, -CHECKSUM_BYTES));
        return;
      case 'origins':
        return this.#addOrigins(content);
      case 'control':
        return this.#addControl(content);
      case 'version':
        if (content.toString('utf8').trim() !== String(POSTGRES_MAJOR)) {
          throw invalid(
            `it is of PostgreSQL ${content.toString('utf8').trim()}`,
            `Import a cluster of PostgreSQL ${POSTGRES_MAJOR}.`,
          );
        }
        return;
      case 'left-out':
        return;
    }
  }

  #addRelation(path: string, fork: RelationFork, segment: number, content: Buffer): void {
    const first = segment * BLOCKS_PER_SEGMENT;
    const blocks = this.#addPages(path, content, (block) => relationBlockKey(fork, first + block));
    const key = relationSizeKey(fork);
    const size = this.#sizes.get(key);
    if (size) size.blocks = Math.max(size.blocks, first + blocks);
    else this.#sizes.set(key, { fork, blocks: first + blocks });
  }

  #addSlru(path: string, slru: SlruNumber, segment: number, content: Buffer): void {
    const pages = this.#addPages(path, content, (page) =>
      slruPageKey(slru, segment * SLRU_PAGES_PER_SEGMENT + page),
    );
    if (pages > 0) this.#entries.set(slruSegmentSizeKey(slru, segment), encodeSlruSegmentSize(pages));
  }

  #addPages(path: string, content: Buffer, keyOf: (page: number) => PageKey): number {
    if (content.length % BLOCK_SIZE !== 0)
      throw invalid(
        `${path} is ${content.length} bytes, not whole pages`,
        'Stop the server and copy its files again.',
      );
    for (let at = 0; at < content.length; at += BLOCK_SIZE) {
      const page = content.subarray(at, at + BLOCK_SIZE);
      if (!page.equals(ZEROS)) this.#entries.set(keyOf(at / BLOCK_SIZE), page);
    }
    return content.length / BLOCK_SIZE;
  }

  #addOrigins(content: Buffer): void {
    if (content.length < 8 || content.readUInt32LE(0) !== ORIGINS_MAGIC)
      throw invalid('replorigin_checkpoint is damaged', 'Copy the files again.');
    for (let at = 4; at + 16 <= content.length - CHECKSUM_BYTES; at += 16) {
      this.#entries.set(
        replicationOriginKey(content.readUInt16LE(at)),
        encodeOriginProgress(content.readBigUInt64LE(at + 8)),
      );
    }
  }

  #addControl(content: Buffer): void {
    const control = readControlFile(content);
    if (control.state !== DatabaseState.shutDown)
      throw invalid('it was not shut down cleanly', 'Stop the server with SIGINT and wait until it is gone.');
    if (control.dataChecksumVersion !== 0)
      throw invalid('its pages carry checksums', 'Make the cluster without data checksums.');
    const { checkpointLsn, checkpoint, systemIdentifier } = control;
    const { endLsn } = shutdownCheckpointRecord({
      at: checkpointLsn,
      previous: undefined,
      checkpoint,
      systemIdentifier,
    });
    const state = stateFromCheckpoint(checkpoint, {
      systemIdentifier,
      recordLsn: checkpointLsn,
      recordEndLsn: endLsn,
    });
    this.#entries.set(CHECKPOINT_KEY, encodeCheckpointState(state));
    this.#checkpoint = { lsn: endLsn, lastRecordLsn: checkpointLsn, systemIdentifier };
  }

  finish(): ImportedCluster {
    if (!this.#checkpoint)
      throw invalid('global/pg_control is missing', 'Send every file of the data directory.');
    this.#entries.set(databaseKey(GLOBAL_TABLESPACE, 0), encodeDatabase(POSTGRES_MAJOR));
    this.#leaveOutUnlogged();
    let logicalBlocks = 0;
    for (const [key, { fork, blocks }] of this.#sizes) {
      this.#entries.set(key, encodeRelationSize(blocks));
      if (fork.fork === Fork.main) logicalBlocks += blocks;
    }
    const entries = [...this.#entries].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return { ...this.#checkpoint, logicalBlocks, entries };
  }

  /** Of an unlogged relation only the init fork is history; the others are made from it at every start. */
  #leaveOutUnlogged(): void {
    for (const { fork } of [...this.#sizes.values()]) {
      if (fork.fork !== Fork.init) continue;
      for (const other of [Fork.main, Fork.fsm, Fork.vm]) {
        const gone = { ...fork, fork: other };
        const size = this.#sizes.get(relationSizeKey(gone));
        for (let block = 0; block < (size?.blocks ?? 0); block++)
          this.#entries.delete(relationBlockKey(gone, block));
        this.#sizes.delete(relationSizeKey(gone));
      }
    }
  }
}

function readControlFile(content: Buffer): ControlFile {
  try {
    return decodeControlFile(content);
  } catch (error) {
    if (error instanceof UnusableControlFile) throw invalid(error.message, 'Stop the server and copy its files again.');
    throw error;
  }
}

function invalid(what: string, remedy: string): CoppiceError {
  return new CoppiceError('Invalid', 'unusable-cluster', `the cluster cannot be imported: ${what}`, {
    remedy,
  });
}
