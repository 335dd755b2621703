import { chownSync, closeSync, fchownSync, ftruncateSync, mkdirSync, openSync, renameSync, rmSync, unlinkSync, writeSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { BLOCK_SIZE } from '@coppice/vocabulary';
import type { Layout } from './layout';

/** Who runs PostgreSQL: `undefined` when that is the agent's own user. */
export interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

/** Files made between two turns of the event loop: about 3 ms, so that other computes' commits are not held up. */
export const FILES_PER_TURN = 80;

/** Blocks that are there from the start, by file. */
export type PlacedPages = ReadonlyMap<string, readonly PlacedPage[]>;

export interface PlacedPage {
  readonly block: number;
  readonly page: Uint8Array;
}

/** Makes `root` a new directory that holds `layout`. File calls are synchronous: half the time of the thread pool's. */
export async function writeLayout(root: string, layout: Layout, pages: PlacedPages, user: ServerUser | undefined, signal: AbortSignal): Promise<void> {
  makeDirectory(root, user);
  for (const directory of layout.directories) makeDirectory(`${root}/${directory}`, user);
  let made = 0;
  for (const [path, size] of layout.sparse) {
    makeSparseFile(`${root}/${path}`, size, user, pages.get(path));
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

/** Makes a file that must not exist, or nothing. */
export function makeSparseFile(path: string, size: number, user: ServerUser | undefined, pages: readonly PlacedPage[] = []): void {
  makeFile(path, user, (fd) => {
    if (size > 0) ftruncateSync(fd, size);
    for (const { block, page } of pages) writeWhole(fd, page, block * BLOCK_SIZE);
  });
}

/** The same with its whole content. */
export function writeNewFile(path: string, content: Uint8Array | string, user: ServerUser | undefined): void {
  makeFile(path, user, (fd) => writeWhole(fd, typeof content === 'string' ? Buffer.from(content) : content, 0));
}

/** Puts another file in the place of whatever has that name, which is not followed if it is a link. */
export function replaceFile(path: string, content: Uint8Array | string, user: ServerUser | undefined): void {
  const next = `${path}.new`;
  rmSync(next, { force: true });
  writeNewFile(next, content, user);
  renameSync(next, path);
}

/** Neither opens what is there already nor follows a link; a file that cannot be filled does not stay. */
function makeFile(path: string, user: ServerUser | undefined, fill: (fd: number) => void): void {
  const fd = openSync(path, 'wx', 0o600);
  try {
    fill(fd);
    if (user) fchownSync(fd, user.uid, user.gid);
  } catch (error) {
    unlinkSync(path);
    throw error;
  } finally {
    closeSync(fd);
  }
}

function writeWhole(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, position + done);
}
