/**
 * For tests: a server on a data directory of which nothing but small files is there, as a compute starts.
 *
 *   origin (stopped) ──► copy: same names and sizes, tracked files without content
 *        └── pages are served from its files, by a real page source ──► interposer in the copy's server
 */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import {
  chmod,
  chown,
  copyFile,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { type Log, silentLog, systemClock } from '@coppice/service-kit';
import { type PostgresSettings, serverUser, TestPostgres } from '@coppice/testing';
import { BLOCK_SIZE, keyOf, type PageKey, relationOfKey } from '@coppice/vocabulary';
import { placeOf } from './placed-pages';
import type { PageProvider } from './miss-batcher';
import { PageSource } from './page-source';
import type { RelationsAtStart, RelationSize } from '../prepare/compute-image';
import { highestIn } from '../prepare/directory-image.fixture';
import { RelationFiles, type RelationName, type RelationProvider } from './relation-files';
import { type FileAtStart, StateFile } from './state-file';
import { blockRangeOf } from './tracked-names';

const run = promisify(execFile);
const INTERPOSER = join(__dirname, '../../interposer');

/** Builds the library where the server's user can read it, once per state of its sources. */
export async function buildInterposer(): Promise<string> {
  const hash = createHash('sha256').update(process.env['CC'] ?? 'cc');
  for (const name of (await readdir(INTERPOSER)).sort()) hash.update(await readFile(join(INTERPOSER, name)));
  const library = join(tmpdir(), `coppice-interposer-${hash.digest('hex').slice(0, 16)}`, 'interposer.so');
  await run(join(INTERPOSER, 'build.sh'), [library]);
  await chmod(dirname(library), 0o755);
  return library;
}

async function own(path: string): Promise<void> {
  if (serverUser) await chown(path, serverUser.uid, serverUser.gid);
}

/** Serves pages out of a stopped server's files; counts, delays and fails on demand. */
export class OriginPages implements PageProvider {
  /** How often each page was asked for. */
  readonly asked = new Map<PageKey, number>();
  delayMs: () => number = () => 0;
  failOn: ((file: string, block: number) => Error | undefined) | undefined;
  readonly #dataDirectory: string;
  readonly #files = new Map<string, number>();

  constructor(dataDirectory: string) {
    this.#dataDirectory = dataDirectory;
  }

  async getPages(keys: readonly PageKey[], signal: AbortSignal): Promise<Buffer[]> {
    const delay = this.delayMs();
    if (delay > 0) await systemClock.sleep(delay, signal);
    const pages: Buffer[] = [];
    for (const key of keys) {
      const { name, block } = placeOf(key);
      const failure = this.failOn?.(name, block);
      if (failure) throw failure;
      this.asked.set(key, (this.asked.get(key) ?? 0) + 1);
      const page = Buffer.alloc(BLOCK_SIZE);
      readSync(this.#open(name), page, 0, BLOCK_SIZE, block * BLOCK_SIZE);
      pages.push(page);
    }
    return pages;
  }

  close(): void {
    for (const fd of this.#files.values()) closeSync(fd);
    this.#files.clear();
  }

  #open(name: string): number {
    const fd = this.#files.get(name) ?? openSync(join(this.#dataDirectory, name), 'r');
    this.#files.set(name, fd);
    return fd;
  }
}

export interface SparseClusterOptions {
  readonly library: string;
  readonly settings?: PostgresSettings;
  readonly capBlocks?: (usedBlocks: number) => number;
  readonly log?: Log;
}

export class SparseCluster {
  readonly server: TestPostgres;
  readonly state: StateFile;
  readonly pages: OriginPages;
  readonly storage: CopiedRelations;
  readonly #relations: RelationFiles;
  readonly #log: Log;
  #source: PageSource;

  private constructor(
    server: TestPostgres,
    state: StateFile,
    pages: OriginPages,
    storage: CopiedRelations,
    relations: RelationFiles,
    log: Log,
  ) {
    this.server = server;
    this.storage = storage;
    this.state = state;
    this.pages = pages;
    this.#relations = relations;
    this.#source = newSource(state, pages, relations, log);
    this.#log = log;
  }

  /** Lays the copy out and starts it. The origin must be stopped. */
  static async start(origin: TestPostgres, options: SparseClusterOptions): Promise<SparseCluster> {
    const directory = await mkdtemp(join(tmpdir(), 'cpg-'));
    await own(directory);
    await mkdir(join(directory, 's'));
    await own(join(directory, 's'));
    const dataDirectory = join(directory, 'data');
    const copied: FileAtStart[] = [];
    await copySparsely(origin.dataDirectory, dataDirectory, copied);
    const usedAtStart = copied
      .filter((f) => blockRangeOf(f.name)?.relation)
      .reduce((sum, f) => sum + f.blocks, 0);
    // As in a compute: relations are looked up when they are first used.
    const files = copied.filter((f) => !isRelation(f.name));
    const state = StateFile.create({
      path: join(directory, 'state'),
      socketPath: join(directory, 'pages'),
      dataDirectory,
      nonce: randomBytes(8).readBigUInt64LE(),
      files,
      blocksAtStart: usedAtStart,
      ...(options.capBlocks ? { capBlocks: options.capBlocks(usedAtStart) } : {}),
      ...(serverUser ? { owner: serverUser } : {}),
    });
    const server = new TestPostgres(directory, {
      settings: { max_connections: 60, ...options.settings },
      env: { LD_PRELOAD: options.library, COPPICE_STATE: state.path, COPPICE_AGENT_PID: String(process.pid) },
    });
    const pages = new OriginPages(origin.dataDirectory);
    const log = options.log ?? silentLog();
    const storage = new CopiedRelations(copied);
    const relations = new RelationFiles({
      state,
      dataDirectory,
      owner: serverUser,
      databases: new Set(copied.flatMap((f) => /^base\/(\d+)\//.exec(f.name)?.[1] ?? []).map(Number)).add(0),
      provider: storage,
      log,
    });
    const cluster = new SparseCluster(server, state, pages, storage, relations, log);
    await cluster.#source.start();
    try {
      await server.start();
    } catch (error) {
      await cluster.dispose();
      throw error;
    }
    return cluster;
  }

  get fetchedBlocks(): number {
    return this.pages.asked.size;
  }

  async stopSource(): Promise<void> {
    await this.#source.stop();
  }

  async restartSource(): Promise<void> {
    this.#source = newSource(this.state, this.pages, this.#relations, this.#log);
    await this.#source.start();
  }

  async dispose(): Promise<void> {
    await this.server.dispose();
    await this.#source.stop().catch(() => undefined);
    this.state.close();
    this.pages.close();
  }
}

function newSource(state: StateFile, provider: PageProvider, relations: RelationFiles, log: Log): PageSource {
  return new PageSource({
    state,
    provider,
    relations,
    log,
    clock: systemClock,
    ...(serverUser ? { owner: serverUser } : {}),
  });
}

function isRelation(name: string): boolean {
  return /^(?:base|global)\//.test(name);
}

/** Sizes of the forks, out of those of their segment files. */
export class CopiedRelations implements RelationProvider {
  readonly #all: RelationSize[];
  /** Questions for one relation, and for all of a database. */
  readonly asked = { relations: 0, databases: 0 };

  constructor(files: readonly FileAtStart[]) {
    const forks = new Map<string, RelationSize>();
    for (const { name, blocks } of files.filter((f) => isRelation(f.name))) {
      const { prefix, firstBlock } = blockRangeOf(name)!;
      const known = forks.get(prefix)?.blocks ?? 0;
      forks.set(prefix, { ...relationOfKey(keyOf(prefix, 0)), blocks: Math.max(known, firstBlock + blocks) });
    }
    this.#all = [...forks.values()];
  }

  async ofRelation({ database, relation }: RelationName): Promise<RelationsAtStart> {
    this.asked.relations += 1;
    return {
      relations: this.#all.filter((r) => r.database === database && r.relation === relation),
      initForks: [],
    };
  }

  async ofDatabase(database: number): Promise<RelationsAtStart> {
    this.asked.databases += 1;
    return { relations: this.#all.filter((r) => r.database === database), initForks: [] };
  }

  async highestOf(database: number): Promise<number> {
    return highestIn(await this.ofDatabase(database));
  }
}

async function copySparsely(from: string, to: string, files: FileAtStart[], root = from): Promise<void> {
  await mkdir(to, { mode: 0o700 });
  await own(to);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const source = join(from, entry.name);
    const target = join(to, entry.name);
    if (entry.isDirectory()) {
      await copySparsely(source, target, files, root);
      continue;
    }
    const name = relative(root, source);
    if (blockRangeOf(name)) {
      const { size } = await lstat(source);
      files.push({ name, blocks: size / BLOCK_SIZE });
      if (isRelation(name)) continue;
      await writeFile(target, '', { mode: 0o600 });
      await truncate(target, size);
    } else {
      await copyFile(source, target);
    }
    await own(target);
  }
}
