/** What the data directory of a stopped server has of relations and SLRUs, by the files' names. */
import { readdirSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { dataFileOf } from '@coppice/postgres';
import { BLOCK_SIZE, Fork, type PageKey, type RelationFork, relationSizeKey } from '@coppice/vocabulary';

export interface ForkOnDisk {
  readonly fork: RelationFork;
  readonly blocks: number;
}

/** Paths of all files, relative to the data directory; WAL left out. */
export function* pathsIn(dataDirectory: string): Generator<string> {
  for (const entry of readdirSync(dataDirectory, { recursive: true, withFileTypes: true })) {
    const path = relative(dataDirectory, join(entry.parentPath, entry.name));
    if (entry.isFile() && !path.startsWith('pg_wal/')) yield path;
  }
}

/**
 * Forks that WAL speaks for, by the keys of their sizes: free space maps are hints that it hardly names, and of an unlogged
 * relation it knows the init fork alone.
 */
export function loggedForksOnDisk(dataDirectory: string): Map<PageKey, ForkOnDisk> {
  const forks = new Map<PageKey, ForkOnDisk>();
  for (const path of pathsIn(dataDirectory)) {
    const file = dataFileOf(path);
    if (file?.kind !== 'relation' || file.fork.fork === Fork.fsm) continue;
    const key = relationSizeKey(file.fork);
    const blocks = statSync(join(dataDirectory, path)).size / BLOCK_SIZE + (forks.get(key)?.blocks ?? 0);
    forks.set(key, { fork: file.fork, blocks });
  }
  for (const { fork } of [...forks.values()]) {
    if (fork.fork !== Fork.init) continue;
    for (const other of [Fork.main, Fork.vm]) forks.delete(relationSizeKey({ ...fork, fork: other }));
  }
  return forks;
}
