/**
 * Data directories laid out ahead of time. A start that has to make 1,200 files takes 45 ms on a quiet disk and seconds on
 * a busy one; nearly all computes of an agent descend from one template, so their layouts differ in a few files only:
 *
 *   last layout ──► spares, made in the background ──► take(layout): change what differs, rename into place
 *
 * A spare belongs to the user that its compute will run as.
 */
import { closeSync, ftruncateSync, openSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock, Log, Random } from '@coppice/service-kit';
import type { ServerUsers } from '../postgres/server-users';
import { changeCount, layoutChanges, type LayoutChanges } from './layout-changes';
import type { Layout } from './layout';
import { makeDirectory, makeSparseFile, type ServerUser, writeLayout, writeNewFile } from './write-layout';

/** Above this many differing files a new directory is as good. */
const MOST_CHANGES = 300;
/** Lets a start, and those that follow at once, go first. */
const REFILL_AFTER_MS = 300;

interface Spare {
  readonly root: string;
  readonly user: ServerUser | undefined;
  readonly layout: Layout;
}

export interface SpareDirectoriesOptions {
  readonly directory: string;
  readonly users: ServerUsers;
  /** Spares kept; 0: none. */
  readonly count: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export class SpareDirectories {
  readonly #options: SpareDirectoriesOptions;
  readonly #spares: Spare[] = [];
  readonly #stop = new AbortController();
  #layout: Layout | undefined;
  #refilling: Promise<void> | undefined;

  constructor(options: SpareDirectoriesOptions) {
    this.#options = options;
  }

  /** Makes `target` a data directory laid out as `layout`, of a spare when there is one. Returns whose it is. */
  async lay(target: string, layout: Layout, prepareRoot: (user: ServerUser | undefined) => void, signal: AbortSignal): Promise<ServerUser | undefined> {
    this.#layout = layout;
    const spare = this.#spares.shift();
    this.#refill();
    const changes = spare && layoutChanges(spare.layout, layout);
    if (spare && changes && changeCount(changes) <= MOST_CHANGES) {
      try {
        prepareRoot(spare.user);
        applyChanges(spare.root, changes, spare.user);
        renameSync(spare.root, target);
      } catch (error) {
        this.#discard(spare);
        throw error;
      }
      return spare.user;
    }
    if (spare) this.#discard(spare);
    const user = this.#options.users.take();
    try {
      prepareRoot(user);
      await writeLayout(target, layout, user, signal);
      return user;
    } catch (error) {
      this.#options.users.give(user);
      throw error;
    }
  }

  /** Makes spares of a layout that starts will probably have. */
  expect(layout: Layout): void {
    this.#layout = layout;
    this.#refill();
  }

  /** For a directory from `lay` that is not used after all. */
  giveBack(user: ServerUser | undefined): void {
    this.#options.users.give(user);
  }

  /** Removes all spares and makes no more. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#refilling;
    for (const spare of this.#spares.splice(0)) this.#discard(spare);
  }

  #refill(): void {
    if (this.#stop.signal.aborted || this.#options.count === 0) return;
    this.#refilling ??= this.#make()
      .catch((error: unknown) => {
        if (!this.#stop.signal.aborted) this.#options.log.warn({ err: error }, 'a spare data directory cannot be made');
      })
      .finally(() => (this.#refilling = undefined));
  }

  async #make(): Promise<void> {
    const { clock, count, users, directory, random } = this.#options;
    await clock.sleep(REFILL_AFTER_MS, this.#stop.signal);
    while (this.#spares.length < count && this.#layout) {
      const layout = this.#layout;
      const spare: Spare = { root: join(directory, `spare-${random.bytes(6).toString('hex')}`), user: users.take(), layout };
      try {
        await writeLayout(spare.root, layout, spare.user, this.#stop.signal);
        this.#spares.push(spare);
      } catch (error) {
        this.#discard(spare);
        throw error;
      }
    }
  }

  #discard(spare: Spare): void {
    rmSync(spare.root, { recursive: true, force: true });
    this.#options.users.give(spare.user);
  }
}

function applyChanges(root: string, changes: LayoutChanges, user: ServerUser | undefined): void {
  for (const path of changes.removedDirectories) rmSync(join(root, path), { recursive: true });
  for (const path of changes.removedFiles) rmSync(join(root, path));
  for (const path of changes.newDirectories) makeDirectory(join(root, path), user);
  for (const [path, size] of changes.newSparse) makeSparseFile(join(root, path), size, user);
  for (const [path, size] of changes.resized) {
    const fd = openSync(join(root, path), 'r+');
    try {
      ftruncateSync(fd, size);
    } finally {
      closeSync(fd);
    }
  }
  for (const [path, content] of changes.writtenFiles) writeNewFile(join(root, path), content, user);
}
