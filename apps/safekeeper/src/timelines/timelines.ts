/**
 * The timelines of this safekeeper: on disk all of them, in memory those in use and the last used, up to a limit. Loading
 * blocks, and takes about a millisecond for one that was closed in good order.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  newAcceptor,
  stepAcceptor,
  tombstone,
  type AcceptorMessage,
  type Greeting,
} from '@coppice/consensus';
import { asCoppiceError, CoppiceError, failpoint, Gauge, type Clock, type Log } from '@coppice/service-kit';
import { lsn, parseTimelineId, type Lsn, type NodeId, type TimelineId } from '@coppice/vocabulary';
import { decodeControlFile } from '../storage/control-file';
import { controlPath, removeTimeline, TimelineStorage } from '../storage/timeline-storage';
import { Tombstones } from '../storage/tombstones';
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

/** A timeline as a listing shows it. */
export interface ListedTimeline {
  readonly timelineId: TimelineId;
  readonly deleted: boolean;
  readonly startLsn: Lsn;
  readonly flushLsn: Lsn;
  readonly commitLsn: Lsn;
}

function tombstoneOf(timelineId: TimelineId): ListedTimeline {
  const none = lsn(0);
  return { timelineId, deleted: true, startLsn: none, flushLsn: none, commitLsn: none };
}

function deleted(id: TimelineId): CoppiceError {
  return new CoppiceError('NotFound', 'timeline-deleted', `timeline ${id} is deleted`);
}

export class Timelines {
  readonly feed: CommitFeed;
  readonly #options: TimelinesOptions;
  readonly #tombstones: Tombstones;
  /** Least recently used first. */
  readonly #loaded = new Map<TimelineId, { readonly timeline: Timeline; usedAt: number }>();

  constructor(options: TimelinesOptions) {
    this.#options = options;
    this.feed = new CommitFeed(options.clock);
    mkdirSync(join(options.data, 'timelines'), { recursive: true, mode: 0o700 });
    this.#tombstones = new Tombstones(options.data);
  }

  /** The timeline, loaded. Throws `NotFound` when it is deleted or never had WAL here. */
  get(id: TimelineId): Timeline {
    if (this.#isDeleted(id)) throw deleted(id);
    const timeline = this.#find(id);
    if (timeline?.state.deleted) throw deleted(id);
    if (timeline) return timeline;
    throw new CoppiceError(
      'NotFound',
      'timeline-not-found',
      `timeline ${id} has no WAL on safekeeper ${this.#options.node}`,
    );
  }

  /** What a proposer of a deleted timeline is answered; `undefined` when the timeline is not deleted. */
  refusalOf(greeting: Greeting): AcceptorMessage | undefined {
    if (!this.#isDeleted(greeting.timeline)) return undefined;
    const gone = tombstone(newAcceptor(this.#options.node, greeting, greeting.membership));
    return stepAcceptor(gone, { written: gone.commitLsn, recordEnd: gone.commitLsn }, greeting).reply;
  }

  /** The timeline that a proposer greets; made in memory when it is new here. Throws `NotFound` when it is deleted. */
  greet(greeting: Greeting): Timeline {
    if (this.#isDeleted(greeting.timeline)) throw deleted(greeting.timeline);
    return (
      this.#find(greeting.timeline) ??
      this.#create(newAcceptor(this.#options.node, greeting, greeting.membership))
    );
  }

  /**
   * Leaves a tombstone, also for a timeline that is not known here: a late greeting must not create it. Then removes what
   * there is; after a crash the same call, or the next look at all timelines, goes on with that.
   */
  delete(id: TimelineId): void {
    failpoint('safekeeper-before-tombstone');
    this.#tombstones.add(id);
    failpoint('safekeeper-after-tombstone');
    const loaded = this.#loaded.get(id)?.timeline;
    if (loaded) {
      loaded.retire(deleted(id));
      this.#forget(loaded);
    }
    removeTimeline(this.#options.data, id);
    this.#options.log.info({ timeline: id }, 'timeline is deleted');
  }

  /** One page of all timelines here and of tombstones, after an id, in order. */
  async list({
    after,
    limit,
  }: {
    readonly after: string;
    readonly limit: number;
  }): Promise<ListedTimeline[]> {
    const page: ListedTimeline[] = [];
    for (const shard of await this.#shards()) {
      if (shard < after.slice(0, 2)) continue;
      const gone = new Set(this.#tombstones.withPrefix(shard));
      const ids = new Set([...gone, ...(await this.#idsIn(shard))]);
      for (const id of [...ids].filter((name) => name > after).sort()) {
        if (page.length === limit) return page;
        const listed = gone.has(id) ? tombstoneOf(id) : await this.#listed(id);
        if (listed) page.push(listed);
      }
    }
    return page;
  }

  /**
   * Commit positions that moved since a time, in batches: of the timelines of which a pageserver has not said yet that it
   * stored all of it. The others would make a pageserver that starts load a whole fleet that sleeps.
   */
  async *changedSince(sinceUnixMs: number): AsyncGenerator<CommitAdvance[]> {
    for (const shard of await readdir(join(this.#options.data, 'timelines'))) {
      const batch: CommitAdvance[] = [];
      const ids = await this.#idsIn(shard);
      const gone = new Set(ids.length > 0 ? this.#tombstones.withPrefix(shard) : []);
      for (const id of ids) {
        if (gone.has(id)) {
          removeTimeline(this.#options.data, id);
          continue;
        }
        const advance = await this.#advanceOf(id, sinceUnixMs);
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
      const { commitLsn, state, pageserver } = inMemory.timeline;
      if (state.deleted || commitLsn <= pageserver.durableLsn) return undefined;
      return { timelineId: id, commitLsn, changedUnixMs: this.#options.clock.now() };
    }
    const path = controlPath(this.#options.data, id);
    return this.#unlessGone(id, async () => {
      const { mtimeMs } = await stat(path);
      if (mtimeMs < sinceUnixMs) return undefined;
      const { state, pageserver } = decodeControlFile(await readFile(path), path);
      if (state.deleted || state.commitLsn <= pageserver.durableLsn) return undefined;
      return { timelineId: id, commitLsn: state.commitLsn, changedUnixMs: Math.floor(mtimeMs) };
    });
  }

  async #listed(id: TimelineId): Promise<ListedTimeline | undefined> {
    const inMemory = this.#loaded.get(id);
    if (inMemory) {
      const { startLsn, flushLsn, commitLsn, state } = inMemory.timeline;
      return { timelineId: id, deleted: state.deleted, startLsn, flushLsn, commitLsn };
    }
    const path = controlPath(this.#options.data, id);
    return this.#unlessGone(id, async () => {
      const { state, durableEnd } = decodeControlFile(await readFile(path), path);
      if (state.deleted) return tombstoneOf(id);
      return {
        timelineId: id,
        deleted: false,
        startLsn: state.startLsn,
        flushLsn: durableEnd,
        commitLsn: state.commitLsn,
      };
    });
  }

  /** One timeline that cannot be read does not hide the others; one that is not there any more is no trouble. */
  async #unlessGone<T>(id: TimelineId, read: () => Promise<T | undefined>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#options.log.error({ err: error, timeline: id }, 'timeline cannot be listed');
      return undefined;
    }
  }

  /** First two digits of the ids that there are, in order. */
  async #shards(): Promise<string[]> {
    const { data } = this.#options;
    const names = await Promise.all([readdir(join(data, 'timelines')), readdir(join(data, 'deleted'))]);
    return [...new Set(names.flat())].sort();
  }

  async #idsIn(shard: string): Promise<TimelineId[]> {
    const names = await readdir(join(this.#options.data, 'timelines', shard)).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return [];
        throw error;
      },
    );
    return names.flatMap((name) => parseTimelineId(name) ?? []);
  }

  #isDeleted(id: TimelineId): boolean {
    const known = this.#loaded.get(id);
    return known ? known.timeline.state.deleted : this.#tombstones.has(id);
  }

  /** Only for ids without a tombstone. */
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
