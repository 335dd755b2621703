/**
 * The timelines of this safekeeper: on disk all of them, in memory those in use and the last used, up to a limit. Loading
 * blocks, and takes about a millisecond for one that was closed in good order.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { newAcceptor, type Greeting } from '@coppice/consensus';
import { asCoppiceError, CoppiceError, Gauge, type Clock, type Log } from '@coppice/service-kit';
import { lsn, parseTimelineId, type NodeId, type TimelineId } from '@coppice/vocabulary';
import { decodeControlFile } from '../storage/control-file';
import { controlPath, TimelineStorage } from '../storage/timeline-storage';
import { CommitFeed, type CommitAdvance } from './commit-feed';
import { Timeline } from './timeline';

const loaded = new Gauge({ name: 'coppice_safekeeper_timelines_loaded', help: 'Timelines in memory.' });

export interface TimelinesOptions {
  readonly node: NodeId;
  readonly data: string;
  readonly maxLoaded: number;
  /** A timeline that nobody used for this long leaves memory. */
  readonly idleMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

export class Timelines {
  readonly feed: CommitFeed;
  readonly #options: TimelinesOptions;
  /** Least recently used first. */
  readonly #loaded = new Map<TimelineId, { readonly timeline: Timeline; usedAt: number }>();

  constructor(options: TimelinesOptions) {
    this.#options = options;
    this.feed = new CommitFeed(options.clock);
    mkdirSync(join(options.data, 'timelines'), { recursive: true, mode: 0o700 });
  }

  /** The timeline, loaded. Throws `NotFound` when it never had WAL here. */
  get(id: TimelineId): Timeline {
    const timeline = this.#find(id);
    if (timeline) return timeline;
    throw new CoppiceError(
      'NotFound',
      'timeline-not-found',
      `timeline ${id} has no WAL on safekeeper ${this.#options.node}`,
    );
  }

  /** The timeline that a proposer greets; made in memory when it is new here. */
  greet(greeting: Greeting): Timeline {
    return (
      this.#find(greeting.timeline) ??
      this.#create(newAcceptor(this.#options.node, greeting, greeting.membership))
    );
  }

  /** Leaves a tombstone, also for a timeline that is not known here: a late greeting must not create it. */
  delete(id: TimelineId): void {
    const nothing = { timeline: id, startLsn: lsn(0), systemId: 0n, pgVersion: 0 };
    const timeline =
      this.#find(id) ??
      this.#create(newAcceptor(this.#options.node, nothing, { generation: 0, members: [] }));
    timeline.delete();
    this.#forget(timeline);
  }

  /** Commit positions that moved since a time, of all timelines here, in batches. */
  async *changedSince(sinceUnixMs: number): AsyncGenerator<CommitAdvance[]> {
    const root = join(this.#options.data, 'timelines');
    for (const shard of await readdir(root)) {
      const batch: CommitAdvance[] = [];
      for (const name of await readdir(join(root, shard))) {
        const id = parseTimelineId(name);
        const advance = id && (await this.#advanceOf(id, sinceUnixMs));
        if (advance) batch.push(advance);
      }
      if (batch.length > 0) yield batch;
    }
  }

  /** Persists commit positions that moved, puts away what is idle. */
  async tidy(): Promise<void> {
    const now = this.#options.clock.now();
    for (const { timeline, usedAt } of [...this.#loaded.values()]) {
      if (!timeline.idle) timeline.saveCommit();
      else if (now - usedAt >= this.#options.idleMs) this.#close(timeline);
      else timeline.saveCommit();
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  /** Closes everything in good order. */
  close(): void {
    for (const { timeline } of [...this.#loaded.values()]) this.#close(timeline);
  }

  async #advanceOf(id: TimelineId, sinceUnixMs: number): Promise<CommitAdvance | undefined> {
    const inMemory = this.#loaded.get(id);
    if (inMemory) {
      const { commitLsn, state } = inMemory.timeline;
      return state.deleted
        ? undefined
        : { timelineId: id, commitLsn, changedUnixMs: this.#options.clock.now() };
    }
    const path = controlPath(this.#options.data, id);
    try {
      const { mtimeMs } = await stat(path);
      if (mtimeMs < sinceUnixMs) return undefined;
      const { state } = decodeControlFile(await readFile(path), path);
      return state.deleted
        ? undefined
        : { timelineId: id, commitLsn: state.commitLsn, changedUnixMs: Math.floor(mtimeMs) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#options.log.error({ err: error, timeline: id }, 'timeline cannot be listed');
      return undefined;
    }
  }

  #find(id: TimelineId): Timeline | undefined {
    const known = this.#loaded.get(id);
    if (known) {
      this.#loaded.delete(id);
      this.#loaded.set(id, known);
      known.usedAt = this.#options.clock.now();
      return known.timeline;
    }
    if (!existsSync(controlPath(this.#options.data, id))) return undefined;
    this.#makeRoom();
    let found: ReturnType<typeof TimelineStorage.load>;
    try {
      found = TimelineStorage.load(this.#options.data, id);
    } catch (error) {
      const known = asCoppiceError(error);
      if (known.kind === 'Internal')
        throw new CoppiceError(
          'Unavailable',
          'timeline-unreadable',
          `timeline ${id} cannot be read: ${known.message}`,
          { cause: error },
        );
      throw error;
    }
    return found && this.#keep(found.state, found.storage);
  }

  #create(state: Timeline['state']): Timeline {
    this.#makeRoom();
    return this.#keep(state, TimelineStorage.fresh(this.#options.data, state));
  }

  #keep(state: Timeline['state'], storage: TimelineStorage): Timeline {
    const { log, clock } = this.#options;
    const timeline = new Timeline({
      state,
      storage,
      log,
      onCommit: (id, commitLsn) => this.feed.publish(id, commitLsn),
      onLost: (lost, error) => {
        log.error({ err: error, timeline: lost.id }, 'timeline is lost, will be read anew');
        this.#forget(lost);
      },
    });
    this.#loaded.set(timeline.id, { timeline, usedAt: clock.now() });
    loaded.set(this.#loaded.size);
    return timeline;
  }

  /** Puts away the least recently used idle timeline when the limit is reached. */
  #makeRoom(): void {
    if (this.#loaded.size < this.#options.maxLoaded) return;
    for (const { timeline } of this.#loaded.values()) {
      if (!timeline.idle) continue;
      this.#close(timeline);
      return;
    }
    throw new CoppiceError(
      'Unavailable',
      'too-many-timelines',
      `${this.#options.maxLoaded} timelines are in use on this safekeeper`,
      {
        remedy: 'Try again shortly, or raise COPPICE_SAFEKEEPER_MAX_LOADED.',
      },
    );
  }

  #close(timeline: Timeline): void {
    timeline.close();
    this.#forget(timeline);
  }

  #forget(timeline: Timeline): void {
    if (this.#loaded.get(timeline.id)?.timeline === timeline) this.#loaded.delete(timeline.id);
    loaded.set(this.#loaded.size);
  }
}
