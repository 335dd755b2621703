/**
 * The files of relations, made when a server process first uses one of them:
 *
 *   look up (relation, fork, segment) ──► sizes of the relation's forks at S ──► sparse files ──► listed in the state file
 *
 * All forks of a relation come at once, those that it lacks are listed as gone, and so is every other name that is asked
 * for: nothing is looked up twice. Whoever lists a whole directory waits until all relations of that database are laid out.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  BLOCK_SIZE,
  Fork,
  type ForkNumber,
  forkSuffix,
  type PageKey,
  relationSizeKey,
} from '@coppice/vocabulary';
import type { RelationsAtStart } from '../prepare/compute-image';
import { layoutOfRelations, type RelationsLayout } from '../prepare/layout';
import { FILES_PER_TURN, makeSparseFile, type ServerUser, writeNewFile } from '../prepare/write-layout';
import { lookedUpRelations } from './metrics';
import type { StateFile } from './state-file';
import { blockRangeOf, type RelationFile, relationFileName } from './tracked-names';

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
}

export interface RelationFilesOptions {
  readonly state: Pick<StateFile, 'has' | 'add'>;
  readonly dataDirectory: string;
  readonly owner: ServerUser | undefined;
  /** Directories that exist at the start; what is made in others is local. 0 is `global/`. */
  readonly databases: ReadonlySet<number>;
  readonly provider: RelationProvider;
  /** Hears of each relation that is looked up, as the key of its size. */
  readonly onLookUp?: (key: PageKey) => void;
}

export class RelationFiles {
  readonly #options: RelationFilesOptions;
  readonly #underWay = new Map<string, Promise<number>>();

  constructor(options: RelationFilesOptions) {
    this.#options = options;
  }

  /** Lists the file, made if storage has it. Returns how many blocks came into being here. */
  async lookUp(file: RelationFile, signal: AbortSignal): Promise<number> {
    const { state } = this.#options;
    const name = relationFileName(file, file.segment);
    if (state.has(name)) return 0;
    const first = relationFileName({ ...file, fork: Fork.main }, 0);
    // Listed are all forks of a relation or none: a name beyond them is one that storage does not have.
    const joined = this.#underWay.get(first);
    let blocks = 0;
    if (joined) await joined;
    else if (!state.has(first)) blocks = await this.#once(first, this.#layRelation(file, signal));
    if (!state.has(name)) state.add({ name, blocks: 0, gone: true });
    return blocks;
  }

  /** Makes and lists the files of all relations of a database. */
  async layDatabase(database: number, signal: AbortSignal): Promise<number> {
    const { databases, provider } = this.#options;
    if (!databases.has(database)) return 0;
    let blocks = 0;
    let made = 0;
    for (const one of byRelation(await provider.ofDatabase(database, signal))) {
      signal.throwIfAborted();
      blocks += this.#lay(one);
      if (++made % FILES_PER_TURN === 0) await nextTurn();
    }
    return blocks;
  }

  async #layRelation(relation: RelationName, signal: AbortSignal): Promise<number> {
    const { databases, provider, onLookUp } = this.#options;
    if (!databases.has(relation.database)) {
      this.#listAbsent(relation);
      return 0;
    }
    lookedUpRelations.inc();
    onLookUp?.(sizeKeyOf(relation));
    const found = await provider.ofRelation(relation, signal);
    signal.throwIfAborted();
    const blocks = this.#lay(found);
    this.#listAbsent(relation);
    return blocks;
  }

  /** Returns the local blocks among what is laid out. A relation that is listed stays as it is. */
  #lay(found: RelationsAtStart): number {
    const { dataDirectory, owner, state } = this.#options;
    const layout = layoutOfRelations(found);
    const first = found.relations[0];
    if (!first || state.has(relationFileName({ ...first, fork: Fork.main }, 0))) return 0;
    try {
      for (const [name, size] of layout.sparse) makeSparseFile(`${dataDirectory}/${name}`, size, owner);
      for (const [name, content] of layout.files) writeNewFile(`${dataDirectory}/${name}`, content, owner);
    } catch (error) {
      // The database was dropped here, directory and all.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      this.#listAbsent(first);
      return 0;
    }
    for (const [name, size] of layout.sparse) state.add({ name, blocks: size / BLOCK_SIZE });
    for (const name of layout.files.keys()) state.add({ name, blocks: 0, gone: true });
    this.#listAbsent(first);
    return localBlocks(layout);
  }

  #listAbsent(relation: RelationName): void {
    for (const name of forkNames(relation))
      if (!this.#options.state.has(name)) this.#options.state.add({ name, blocks: 0, gone: true });
  }

  async #once(key: string, work: Promise<number>): Promise<number> {
    this.#underWay.set(key, work);
    try {
      return await work;
    } finally {
      this.#underWay.delete(key);
    }
  }
}

function sizeKeyOf({ tablespace, database, relation }: RelationName): PageKey {
  return relationSizeKey({ tablespace, database, relation, fork: Fork.main });
}

/** First segments of all forks that a relation may have. */
export function forkNames({ tablespace, database, relation }: RelationName): string[] {
  return Object.keys(forkSuffix).map((fork) =>
    relationFileName({ tablespace, database, relation, fork: Number(fork) as ForkNumber }, 0),
  );
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
