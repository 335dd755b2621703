/**
 * What a compute's data directory looks like before PostgreSQL runs, as a pure function of its image:
 *
 *   directories    PostgreSQL's own (src/bin/initdb/initdb.c, `subdirs`) and one per database
 *   sparse files   one per SLRU segment, and per segment of the image's relations, of its size at S; the interposer fetches
 *                  a block, and has the files of other relations made, when they are first touched
 *   whole files    small ones, and both forks of unlogged relations (the main fork starts as a copy of the init fork)
 */
import { crc32c } from '@coppice/bytes';
import { CoppiceError } from '@coppice/service-kit';
import { BLOCK_SIZE, BLOCKS_PER_SEGMENT, DEFAULT_TABLESPACE, Fork, forkSuffix, GLOBAL_TABLESPACE, Slru } from '@coppice/vocabulary';
import type { ForkNumber } from '@coppice/vocabulary';
import type { ComputeImage, RelationsAtStart } from './compute-image';

export const PG_MAJOR = 17;

/** What `initdb` makes besides `base/<database>`. */
export const DIRECTORIES = [
  'global', 'pg_wal', 'pg_wal/archive_status', 'pg_wal/summaries', 'pg_commit_ts', 'pg_dynshmem', 'pg_notify', 'pg_serial', 'pg_snapshots',
  'pg_subtrans', 'pg_twophase', 'pg_multixact', 'pg_multixact/members', 'pg_multixact/offsets', 'base', 'pg_replslot', 'pg_tblspc', 'pg_stat',
  'pg_stat_tmp', 'pg_xact', 'pg_logical', 'pg_logical/snapshots', 'pg_logical/mappings',
] as const;

const SLRU_DIRECTORIES: Readonly<Record<number, string>> = {
  [Slru.xact]: 'pg_xact',
  [Slru.multixactOffsets]: 'pg_multixact/offsets',
  [Slru.multixactMembers]: 'pg_multixact/members',
};

export interface RelationsLayout {
  /** Path → bytes. */
  readonly sparse: ReadonlyMap<string, number>;
  /** Local from the start. */
  readonly files: ReadonlyMap<string, Buffer>;
}

export interface Layout extends RelationsLayout {
  /** Parents before children. */
  readonly directories: readonly string[];
}

/** Lays out an image; paths are relative to the data directory. Throws on paths that the image has no right to. */
export function layoutOf(image: ComputeImage): Layout {
  const directories: string[] = [...DIRECTORIES];
  const files = new Map<string, Buffer>();
  files.set('PG_VERSION', Buffer.from(`${PG_MAJOR}\n`));
  for (const { tablespace, database, relationMap } of image.databases) {
    const directory = directoryOf(tablespace, database);
    if (tablespace !== GLOBAL_TABLESPACE) {
      directories.push(directory);
      files.set(`${directory}/PG_VERSION`, Buffer.from(`${PG_MAJOR}\n`));
    }
    if (relationMap.length > 0) files.set(`${directory}/pg_filenode.map`, relationMap);
  }
  const relations = layoutOfRelations(image);
  const sparse = new Map(relations.sparse);
  for (const [path, content] of relations.files) files.set(path, content);
  for (const { slru, segment, pages } of image.slruSegments) {
    const directory = SLRU_DIRECTORIES[slru];
    if (directory === undefined) throw bad(`slru ${slru}`);
    sparse.set(`${directory}/${segment.toString(16).toUpperCase().padStart(4, '0')}`, pages * BLOCK_SIZE);
  }
  for (const { path, content } of image.files) {
    for (const parent of carriedParents(path)) if (!directories.includes(parent)) directories.push(parent);
    files.set(path, content);
  }
  if (image.origins.length > 0) files.set('pg_logical/replorigin_checkpoint', originsFile(image.origins));
  return { directories, sparse, files };
}

/** The files of relations: an unlogged one has its init fork twice, as that and as its main fork. */
export function layoutOfRelations({ relations, initForks }: RelationsAtStart): RelationsLayout {
  const sparse = new Map<string, number>();
  const files = new Map<string, Buffer>();
  const unlogged = new Set(initForks.map((f) => `${f.tablespace}/${f.database}/${f.relation}`));
  for (const r of relations) {
    if (unlogged.has(`${r.tablespace}/${r.database}/${r.relation}`)) continue;
    addSegments(sparse, relationPath(r.tablespace, r.database, r.relation, r.fork), r.blocks);
  }
  for (const { tablespace, database, relation, pages } of initForks)
    for (const fork of [Fork.init, Fork.main]) files.set(relationPath(tablespace, database, relation, fork), pages);
  return { sparse, files };
}

/** Path of the first segment of a relation fork. */
export function relationPath(tablespace: number, database: number, relation: number, fork: ForkNumber): string {
  const suffix = forkSuffix[fork];
  if (suffix === undefined) throw bad(`fork ${fork}`);
  return `${directoryOf(tablespace, database)}/${relation}${suffix}`;
}

function directoryOf(tablespace: number, database: number): string {
  if (tablespace === GLOBAL_TABLESPACE) return 'global';
  if (tablespace === DEFAULT_TABLESPACE) return `base/${database}`;
  throw bad(`tablespace ${tablespace}`);
}

function addSegments(sparse: Map<string, number>, first: string, blocks: number): void {
  for (let segment = 0; segment === 0 || segment * BLOCKS_PER_SEGMENT < blocks; segment++) {
    const inSegment = Math.min(BLOCKS_PER_SEGMENT, blocks - segment * BLOCKS_PER_SEGMENT);
    sparse.set(segment === 0 ? first : `${first}.${segment}`, inSegment * BLOCK_SIZE);
  }
}

/** Carried files come out of tenants' WAL: only these places, only plain names. */
const CARRIED = /^(?:pg_twophase|pg_stat|pg_logical\/(?:snapshots|mappings)|pg_replslot\/[a-z0-9_]{1,63})\/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,120}$/;

function carriedParents(path: string): string[] {
  if (!CARRIED.test(path)) throw bad(`the file ${JSON.stringify(path)}`);
  return path.startsWith('pg_replslot/') ? [path.slice(0, path.lastIndexOf('/'))] : [];
}

/**
 * `pg_logical/replorigin_checkpoint` (src/backend/replication/logical/origin.c, CheckPointReplicationOrigin):
 *
 *   magic u32 │ { origin u16, padding 6, remote LSN u64 } … │ CRC-32C u32, little-endian
 */
function originsFile(origins: ComputeImage['origins']): Buffer {
  const bytes = Buffer.alloc(4 + origins.length * 16 + 4);
  bytes.writeUInt32LE(0x1257dade, 0);
  origins.forEach(({ originId, remoteLsn }, i) => {
    bytes.writeUInt16LE(originId, 4 + i * 16);
    bytes.writeBigUInt64LE(remoteLsn, 12 + i * 16);
  });
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, -4)), bytes.length - 4);
  return bytes;
}

function bad(what: string): CoppiceError {
  return new CoppiceError('Corrupt', 'bad-compute-image', `the compute image names ${what}, which a compute cannot lay out`);
}
