import { chownSync, closeSync, fchownSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Layout } from './layout';

/** Who runs PostgreSQL: `undefined` when that is the agent's own user. */
export interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

/** Files made between two turns of the event loop: about 3 ms, so that other computes' commits are not held up. */
const FILES_PER_TURN = 80;

/** Makes `root` a new directory that holds `layout`. File calls are synchronous: half the time of the thread pool's. */
export async function writeLayout(root: string, layout: Layout, user: ServerUser | undefined, signal: AbortSignal): Promise<void> {
  makeDirectory(root, user);
  for (const directory of layout.directories) makeDirectory(join(root, directory), user);
  let made = 0;
  for (const [path, size] of layout.sparse) {
    makeSparseFile(`${root}/${path}`, size, user);
    if (++made % FILES_PER_TURN === 0) {
      await nextTurn();
      signal.throwIfAborted();
    }
  }
  for (const [path, content] of layout.files) writeNewFile(`${root}/${path}`, content, user);
}

export function makeDirectory(path: string, user: ServerUser | undefined): void {
  mkdirSync(path, { mode: 0o700 });
  if (user) chownSync(path, user.uid, user.gid);
}

export function makeSparseFile(path: string, size: number, user: ServerUser | undefined): void {
  const fd = openSync(path, 'wx', 0o600);
  try {
    if (size > 0) ftruncateSync(fd, size);
    if (user) fchownSync(fd, user.uid, user.gid);
  } finally {
    closeSync(fd);
  }
}

/** Creates or replaces a file. */
export function writeNewFile(path: string, content: Uint8Array | string, user: ServerUser | undefined): void {
  const fd = openSync(path, 'w', 0o600);
  try {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    if (user) fchownSync(fd, user.uid, user.gid);
  } finally {
    closeSync(fd);
  }
}
