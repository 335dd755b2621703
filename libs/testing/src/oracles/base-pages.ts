import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import {
  BLOCKS_PER_SEGMENT,
  BLOCK_SIZE,
  DEFAULT_TABLESPACE,
  GLOBAL_TABLESPACE,
  type RelationFork,
  forkSuffix,
} from '@coppice/vocabulary';

/** Pages of relations as they stand in the files of a data directory that no server is running on. */
export class BasePages {
  readonly #directory: string;
  readonly #files = new Map<string, number | undefined>();

  constructor(dataDirectory: string) {
    this.#directory = dataDirectory;
  }

  /** A copy of the page; `undefined` when the file is absent or shorter. */
  read(relation: RelationFork, block: number): Buffer | undefined {
    const path = relationPath(relation, block);
    const file = path === undefined ? undefined : this.#open(path);
    if (file === undefined) return undefined;
    const page = Buffer.alloc(BLOCK_SIZE);
    const read = readSync(file, page, 0, BLOCK_SIZE, (block % BLOCKS_PER_SEGMENT) * BLOCK_SIZE);
    return read === BLOCK_SIZE ? page : undefined;
  }

  #open(path: string): number | undefined {
    if (!this.#files.has(path)) this.#files.set(path, openIfThere(join(this.#directory, path)));
    return this.#files.get(path);
  }

  close(): void {
    for (const file of this.#files.values()) if (file !== undefined) closeSync(file);
    this.#files.clear();
  }
}

/** Path of the file that holds the block, within a data directory; `undefined` for tablespaces elsewhere. */
export function relationPath(relation: RelationFork, block: number): string | undefined {
  const segment = Math.floor(block / BLOCKS_PER_SEGMENT);
  const name = `${relation.relation}${forkSuffix[relation.fork]}${segment > 0 ? `.${segment}` : ''}`;
  if (relation.tablespace === GLOBAL_TABLESPACE) return `global/${name}`;
  return relation.tablespace === DEFAULT_TABLESPACE ? `base/${relation.database}/${name}` : undefined;
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
