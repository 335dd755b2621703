/**
 * The files of relations, made when a server process first uses one of them:
 *
 *   look up (relation, fork, segment) ──► sizes of the relation's forks at S ──► sparse files ──► listed in the state file
 *
 * All forks of a relation come at once, its main fork as the last, or alone and as gone when storage has no such relation: so
 * nothing is looked up twice. Whoever lists a whole directory waits until all relations of that database are laid out.
 *
 * A program that makes many relations must not cost a question and an entry for each. After some that storage has not, the
 * agent asks for the highest number of that database, once: those above it are local from then on, and nobody asks for
 * them. Numbers of new relations are above it, unless the counter of the cluster has begun anew; where it has, the database
 * is laid out as a whole, after which all that is not listed is local.
 */
import { rmSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Log, SharedWork, withDeadline } from '@coppice/service-kit';
import { BLOCK_SIZE, Fork, type PageKey, relationSizeKey } from '@coppice/vocabulary';
import type { RelationsAtStart } from '../prepare/compute-image';
import { inDirectory } from '../prepare/guarded-directory';
import { layoutOfRelations, type RelationsLayout } from '../prepare/layout';
import {
  FILES_PER_TURN,
  makeSparseFile,
  type PlacedPages,
  type ServerUser,
  writeNewFile,
} from '../prepare/write-layout';
import { lookedUpRelations } from './metrics';
import type { StateFile } from './state-file';
import { blockRangeOf, type RelationFile, relationFileName } from './tracked-names';

/** Relations of one database that storage has not, before it is worth a look at all that it has. */
const ABSENT_BEFORE_LOOK = 64;
/** For that look; nobody waits for it. */
const LOOK_DEADLINE_MS = 120_000;
const HIGHEST_RELATION = 0xffffffff;
const NO_PAGES: PlacedPages = new Map();

export interface RelationName {
  readonly tablespace: number;
  readonly database: number;
  readonly relation: number;
}

/** What storage knows of relations at the compute's start position. */
export interface RelationProvider {
  /** All forks of one relation; none when there is no such relation. */
  ofRelation(relation: RelationName, signal: AbortSignal): Promise<RelationsAtStart>;
  /** All forks of all relations of a database (0: the shared ones). */
  ofDatabase(database: number, signal: AbortSignal): Promise<RelationsAtStart>;
  /** The highest number among those relations; 0 when there is none. Holds none of them. */
  highestOf(database: number, signal: AbortSignal): Promise<number>;
}

export interface RelationFilesOptions {
  readonly state: Pick<StateFile, 'has' | 'add' | 'setLocalFrom' | 'closed'>;
  readonly dataDirectory: string;
  readonly owner: ServerUser | undefined;
  /** Directories that exist at the start; what is made in others is local. 0 is `global/`. */
  readonly databases: ReadonlySet<number>;
  readonly provider: RelationProvider;
  readonly log: Log;
  /** Hears of each relation that is looked up, as the key of its size. */
  readonly onLookUp?: (key: PageKey) => void;
}

export class RelationFiles {
  readonly #options: RelationFilesOptions;
  readonly #work = new SharedWork<string, void>();
  /** Of databases that were looked at: names that are not listed are local from this number on. */
  readonly #localFrom = new Map<number, number>();
  /** Relations of a database that were looked up and that storage has not. */
  readonly #absent = new Map<number, number>();
  /** Blocks that came into being here, and that no answer has told of yet. */
  #untold = 0;

  constructor(options: RelationFilesOptions) {
    this.#options = options;
  }

  /** Sees to it that the file is there if storage has it. Returns how many blocks came into being here since the last answer. */
  async lookUp(file: RelationFile, signal: AbortSignal): Promise<number> {
    const { state } = this.#options;
    const first = mainForkName(file);
    if (!state.has(first) && !this.#isLocal(file.database, file.relation))
      await this.#work.join(first, signal, (nobodyWaits) => this.#layRelation(file, nobodyWaits));
    return this.#tell();
  }

  /** Makes and lists the files of all relations of a database, once. Returns the same. */
  async layDatabase(database: number, signal: AbortSignal): Promise<number> {
    await this.#layOnce(database, signal);
    return this.#tell();
  }

  /**
   * Lays relations out that no server process has used yet, all forks of each, with pages that are known to be wanted. Returns the
   * names of the files that were made.
   */
  async layAhead(found: RelationsAtStart, pages: PlacedPages, signal: AbortSignal): Promise<ReadonlySet<string>> {
    const laid = new Set<string>();
    let sinceTurn = 0;
    for (const one of byRelation(found)) {
      signal.throwIfAborted();
      for (const name of this.#lay(one, pages)) {
        laid.add(name);
        sinceTurn += 1;
      }
      if (sinceTurn < FILES_PER_TURN) continue;
      sinceTurn = 0;
      await nextTurn();
    }
    return laid;
  }

  /** Whether a server process has used it, or it was laid out. */
  isListed(relation: RelationName): boolean {
    return this.#options.state.has(mainForkName(relation));
  }

  async #layOnce(database: number, signal: AbortSignal): Promise<void> {
    if (this.#isLocal(database, 0)) return;
    await this.#work.join(`base/${database}`, signal, (nobodyWaits) => this.#layAll(database, nobodyWaits));
  }

  /** Whether storage is known to have nothing there that is not listed; then the server's processes are told, maybe again. */
  #isLocal(database: number, relation: number): boolean {
    const { databases, state } = this.#options;
    const from = databases.has(database) ? this.#localFrom.get(database) : 0;
    if (from === undefined || relation < from) return false;
    state.setLocalFrom(database, from);
    return true;
  }

  #setLocalFrom(database: number, relation: number): void {
    this.#localFrom.set(database, relation);
    if (relation <= HIGHEST_RELATION) this.#options.state.setLocalFrom(database, relation);
  }

  async #layRelation(relation: RelationName, signal: AbortSignal): Promise<void> {
    const { provider, onLookUp } = this.#options;
    lookedUpRelations.inc();
    onLookUp?.(sizeKeyOf(relation));
    const found = await provider.ofRelation(relation, signal);
    signal.throwIfAborted();
    this.#lay(found);
    if (this.#options.state.has(mainForkName(relation))) return;
    this.#listAbsent(relation);
    this.#countAbsent(relation.database);
  }

  async #layAll(database: number, signal: AbortSignal): Promise<void> {
    let made = 0;
    for (const one of byRelation(await this.#options.provider.ofDatabase(database, signal))) {
      signal.throwIfAborted();
      this.#lay(one);
      if (++made % FILES_PER_TURN === 0) await nextTurn();
    }
    signal.throwIfAborted();
    this.#setLocalFrom(database, 0);
  }

  #countAbsent(database: number): void {
    const count = (this.#absent.get(database) ?? 0) + 1;
    this.#absent.set(database, count);
    if (count % ABSENT_BEFORE_LOOK === 0) void this.#learnWhatIsLocal(database);
  }

  /** Beside what is asked for. Where it fails, the next names are asked for one by one, as those before. */
  async #learnWhatIsLocal(database: number): Promise<void> {
    const { provider, state, log } = this.#options;
    const signal = withDeadline(LOOK_DEADLINE_MS, state.closed);
    try {
      if (this.#localFrom.has(database)) return await this.#layOnce(database, signal);
      const highest = await provider.highestOf(database, signal);
      // It may have been laid out as a whole meanwhile, which says more.
      if (!this.#localFrom.has(database)) this.#setLocalFrom(database, highest + 1);
    } catch (error) {
      if (!state.closed.aborted)
        log.warn(
          { err: error, database },
          'what a database has in storage is not known: its new relations cost a question each',
        );
    }
  }

  #tell(): number {
    const blocks = this.#untold;
    this.#untold = 0;
    return blocks;
  }

  /** A relation that is listed stays as it is. Returns the names of the files that were made, sparse or with pages. */
  #lay(found: RelationsAtStart, pages: PlacedPages = NO_PAGES): readonly string[] {
    const { state } = this.#options;
    const layout = layoutOfRelations(found);
    const relation = found.relations[0];
    if (!relation || state.has(mainForkName(relation))) return [];
    try {
      this.#makeFiles(layout, pages, dirname(mainForkName(relation)));
    } catch (error) {
      // The database was dropped here, directory and all.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      this.#listAbsent(relation);
      return [];
    }
    const first = mainForkName(relation);
    const list = (name: string, size: number): void =>
      state.add({ name, blocks: size / BLOCK_SIZE, warm: pages.get(name)?.map(({ block }) => block) });
    for (const [name, size] of layout.sparse) if (name !== first) list(name, size);
    // The last: who finds it does not ask for the others.
    const size = layout.sparse.get(first);
    if (size === undefined) this.#listAbsent(relation);
    else list(first, size);
    this.#untold += localBlocks(layout);
    return [...layout.sparse.keys()];
  }

  /** All, which are in one directory, or none: a relation of which a part were left could not be laid out again. */
  #makeFiles({ sparse, files }: RelationsLayout, pages: PlacedPages, path: string): void {
    const { dataDirectory, owner } = this.#options;
    inDirectory(dataDirectory, path, (directory) => {
      const made: string[] = [];
      const make = (name: string, write: (file: string) => void): void => {
        const file = `${directory}/${basename(name)}`;
        write(file);
        made.push(file);
      };
      try {
        for (const [name, size] of sparse) make(name, (file) => makeSparseFile(file, size, owner, pages.get(name)));
        for (const [name, content] of files) make(name, (file) => writeNewFile(file, content, owner));
      } catch (error) {
        for (const file of made) rmSync(file, { force: true });
        throw error;
      }
    });
  }

  #listAbsent(relation: RelationName): void {
    this.#options.state.add({ name: mainForkName(relation), blocks: 0, gone: true });
  }
}

function sizeKeyOf({ tablespace, database, relation }: RelationName): PageKey {
  return relationSizeKey({ tablespace, database, relation, fork: Fork.main });
}

/** The file that is listed last of a relation. */
export function mainForkName({ tablespace, database, relation }: RelationName): string {
  return relationFileName({ tablespace, database, relation, fork: Fork.main }, 0);
}

/** Blocks of unlogged relations' main forks, which are laid out whole. */
export function localBlocks({ files }: RelationsLayout): number {
  let blocks = 0;
  for (const [name, content] of files)
    if (blockRangeOf(name)?.relation) blocks += content.length / BLOCK_SIZE;
  return blocks;
}

function byRelation({ relations, initForks }: RelationsAtStart): RelationsAtStart[] {
  const parts = new Map<
    string,
    { relations: RelationsAtStart['relations'][number][]; initForks: RelationsAtStart['initForks'][number][] }
  >();
  for (const fork of relations) {
    const name = `${fork.database}/${fork.relation}`;
    const part = parts.get(name) ?? { relations: [], initForks: [] };
    part.relations.push(fork);
    parts.set(name, part);
  }
  for (const fork of initForks) parts.get(`${fork.database}/${fork.relation}`)?.initForks.push(fork);
  return [...parts.values()];
}
