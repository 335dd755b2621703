/**
 * The last check of the whole way from WAL to page: a compute that was suspended left its data directory, and everything
 * in it that WAL speaks for must be what the pageserver materialises at the position at which the compute ended.
 *
 *   relation forks   the same ones; sizes, but for zeros at a file's end (servers extend by more than they need); pages
 *                    under the masks of libs/postgres/src/redo/mask.ts
 *   SLRU segments    the same ones, same sizes, byte for byte
 *   relation maps, init forks, prepared transactions    byte for byte
 *
 * The compute must have read every block before it stopped (`readEverything`): what it never fetched is a hole.
 */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { dataFileOf, type MaskKind } from '@coppice/postgres';
import {
  BLOCK_SIZE,
  Fork,
  formatPageKey,
  type PageKey,
  type RelationFork,
  relationBlockKey,
  relationMapKey,
  relationOfKey,
  relationSizeKey,
  SLRU_PAGES_PER_SEGMENT,
  slruPageKey,
  slruSegmentSizeKey,
} from '@coppice/vocabulary';
import { compareStoredPage, filePages, type StoredRelation } from '../oracles/compare-files';
import { type ForkOnDisk, loggedForksOnDisk, pathsIn } from '../oracles/forks-on-disk';
import type { DirectCompute, KeptDirectory } from './direct-compute';
import type { PageserverReader, TimelineDirectory } from './pageserver-reader';

export interface MaterialisedComparison {
  readonly relationPages: number;
  readonly slruPages: number;
  readonly forks: number;
  readonly differences: readonly string[];
}

export interface Materialised {
  readonly kept: KeptDirectory;
  readonly relations: readonly StoredRelation[];
  readonly pageserver: PageserverReader;
  /** Databases whose visibility maps WAL knows only in part: those copied through WAL, whose maps it logs as holes. */
  readonly copiedThroughWal: ReadonlySet<number>;
}

/** A page of a visibility map that says nothing: servers extend the fork before they set a bit, without WAL. */
const VM_HEADER = Buffer.from('000000000000000000000000180000200020042000000000', 'hex');
const EMPTY_VM_PAGE = Buffer.concat([VM_HEADER, Buffer.alloc(BLOCK_SIZE - VM_HEADER.length)]);
const ZEROS = Buffer.alloc(BLOCK_SIZE);

/** Makes the compute fetch every block of every relation; template0 is opened for it, and all databases are returned. */
export async function readEverything(compute: DirectCompute): Promise<string[]> {
  await compute.query('alter database template0 allow_connections true');
  const databases = await compute.query<{ datname: string }>(
    'select datname from pg_database where datallowconn order by 1',
  );
  for (const { datname: database } of databases) {
    const ask = (statement: string): Promise<unknown> => compute.query(statement, undefined, { database });
    await ask('create extension if not exists pg_prewarm');
    await ask(
      `select pg_prewarm(c.oid, 'read', f) from pg_class c, unnest(array['main', 'vm', 'init']) f
       where pg_relation_filenode(c.oid) is not null and c.relpersistence <> 't' and pg_relation_size(c.oid, f) > 0`,
    );
  }
  return databases.map(({ datname }) => datname);
}

export async function compareMaterialised(what: Materialised): Promise<MaterialisedComparison> {
  const { kept, pageserver } = what;
  const directory = await pageserver.directory(kept);
  const onDisk = loggedForksOnDisk(kept.dataDirectory);
  const differences = [...forkDifferences(onDisk, directory), ...fileDifferences(kept, directory)];
  let relationPages = 0;
  for (const found of onDisk.values())
    relationPages += await compareFork(what, found, directory, differences);
  const slruPages = await compareSlrus(what, directory, differences);
  return { relationPages, slruPages, forks: onDisk.size, differences };
}

function forkDifferences(onDisk: ReadonlyMap<PageKey, ForkOnDisk>, { forks }: TimelineDirectory): string[] {
  const extra = [...forks.keys()]
    .filter((key) => relationOfKey(key).fork !== Fork.fsm && !onDisk.has(key))
    .map((key) => `${formatPageKey(key)} should be gone`);
  const short = [...onDisk]
    .filter(([key, { blocks }]) => (forks.get(key) ?? 0) > blocks)
    .map(([key, { blocks }]) => `${formatPageKey(key)} has ${forks.get(key)} blocks, not ${blocks}`);
  const missing = [...onDisk]
    .filter(([key, { fork }]) => !forks.has(key) && fork.fork !== Fork.vm)
    .map(([key]) => `${formatPageKey(key)} is not there`);
  return [...extra, ...short, ...missing];
}

/** Relation maps, init forks and prepared transactions. */
function fileDifferences({ dataDirectory }: KeptDirectory, directory: TimelineDirectory): string[] {
  const differences: string[] = [];
  const expected = new Set<string>();
  for (const path of pathsIn(dataDirectory)) {
    const file = dataFileOf(path);
    const content = (): Buffer => readFileSync(join(dataDirectory, path));
    let ours: Buffer | undefined;
    if (file === undefined) {
      differences.push(`${path} is a file of no known kind`);
      continue;
    } else if (file.kind === 'relation-map')
      ours = directory.relationMaps.get(relationMapKey(file.tablespace, file.database));
    else if (file.kind === 'two-phase') ours = directory.files.get(path);
    else if (file.kind === 'relation' && file.fork.fork === Fork.init) ours = directory.initForks.get(path);
    else continue;
    expected.add(path);
    if (!ours?.equals(content())) differences.push(`${path} is ${ours ? 'different' : 'not there'}`);
  }
  for (const path of [...directory.initForks.keys(), ...directory.files.keys()])
    if (/_init$|^pg_twophase/.test(path) && !expected.has(path)) differences.push(`${path} should be gone`);
  return differences;
}

async function compareFork(
  { kept, relations, pageserver, copiedThroughWal }: Materialised,
  { fork }: ForkOnDisk,
  directory: TimelineDirectory,
  differences: string[],
): Promise<number> {
  const size = directory.forks.get(relationSizeKey(fork)) ?? 0;
  const known = relations.find(
    (r) => relationSizeKey(r.fork) === relationSizeKey({ ...fork, fork: r.fork.fork }),
  );
  const name = known
    ? `${known.name.replace(' (vm)', '')} fork ${fork.fork}`
    : formatPageKey(relationSizeKey(fork));
  if (!known && fork.fork !== Fork.init) differences.push(`${name} belongs to no relation`);
  const kind = maskKind(fork, known);
  const keys = Array.from({ length: size }, (_, block) => relationBlockKey(fork, block));
  const ours = pageserver.pages(kept, keys);
  const isPartialMap = fork.fork === Fork.vm && copiedThroughWal.has(fork.database);
  let pages = 0;
  for (const { block, page } of filePages(kept.dataDirectory, fork)) {
    const stored = block < size ? ((await ours.next()).value as Buffer) : emptyPage(fork, page);
    if (stored.equals(page)) {
      pages += 1;
      continue;
    }
    const mine = fork.fork === Fork.vm && stored.equals(ZEROS) ? EMPTY_VM_PAGE : stored;
    const difference = compareStoredPage({ kind, isPartialMap }, block, mine, page);
    if (difference !== undefined) differences.push(`${name} block ${block} of ${size}: ${difference}`);
    pages += 1;
  }
  await ours.return(undefined);
  return pages;
}

/** What may stand in a file beyond the size that WAL knows. */
function emptyPage(fork: RelationFork, page: Buffer): Buffer {
  return fork.fork === Fork.vm && !page.equals(ZEROS) ? EMPTY_VM_PAGE : ZEROS;
}

function maskKind(fork: RelationFork, known: StoredRelation | undefined): MaskKind {
  if (fork.fork === Fork.vm) return 'visibility-map';
  return fork.fork === Fork.init ? 'generic' : (known?.kind ?? 'generic');
}

async function compareSlrus(
  { kept, pageserver }: Materialised,
  directory: TimelineDirectory,
  differences: string[],
): Promise<number> {
  const there = new Set<PageKey>();
  let pages = 0;
  for (const path of pathsIn(kept.dataDirectory)) {
    const file = dataFileOf(path);
    if (file?.kind !== 'slru') continue;
    const key = slruSegmentSizeKey(file.slru, file.segment);
    there.add(key);
    const absolute = join(kept.dataDirectory, path);
    const size = directory.segments.get(key) ?? 0;
    if (size !== statSync(absolute).size / BLOCK_SIZE)
      differences.push(`${path} has ${size} pages, not ${statSync(absolute).size / BLOCK_SIZE}`);
    const content = readFileSync(absolute);
    const first = file.segment * SLRU_PAGES_PER_SEGMENT;
    const keys = Array.from({ length: size }, (_, page) => slruPageKey(file.slru, first + page));
    let page = 0;
    for await (const ours of pageserver.pages(kept, keys)) {
      const theirs = content.subarray(page * BLOCK_SIZE, (page + 1) * BLOCK_SIZE);
      const at = ours.findIndex((byte, i) => byte !== theirs[i]);
      if (at >= 0) differences.push(`${path} page ${page}: byte ${at} is ${ours[at]}, not ${theirs[at]}`);
      page += 1;
    }
    pages += page;
  }
  for (const key of directory.segments.keys())
    if (!there.has(key)) differences.push(`${formatPageKey(key)} should be gone`);
  return pages;
}
