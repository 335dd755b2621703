/**
 * The timelines that this process has in memory. A timeline is loaded when somebody first asks for it: from its newest
 * manifest, else from what the control-plane says of it. Its ancestors come with it and stay while it does. Timelines
 * that nobody uses leave memory again, so that a fleet of idle ones costs nothing here.
 */
import type { Manifest } from '@coppice/layers';
import type { ObjectStore } from '@coppice/object-store';
import type { Clock } from '@coppice/service-kit';
import { CoppiceError, Gauge, systemClock } from '@coppice/service-kit';
import type { LsnNumber, TimelineId } from '@coppice/vocabulary';
import type { Attachment } from './attachment';
import { loadManifest } from './manifests';
import { hasTombstone, timelineDeleted } from './tombstones';
import { storedLayer } from './stored-layer';
import type { TimelineLimits } from './timeline';
import { Timeline } from './timeline';

/** What the control-plane knows of a timeline. */
export interface TimelineFacts {
  readonly ancestor: { readonly timeline: TimelineId; readonly lsn: LsnNumber } | undefined;
  readonly systemIdentifier: bigint;
}

export interface TimelinesOptions {
  readonly store: ObjectStore;
  readonly attachment: Attachment;
  readonly limits: TimelineLimits;
  /** Asks the control-plane; rejects with `NotFound` for a timeline that it does not know. */
  readonly facts: (id: TimelineId) => Promise<TimelineFacts>;
  /** Loaded timelines beyond which idle ones leave memory at once. */
  readonly maxLoaded: number;
  /** Time without use after which an idle timeline leaves memory, milliseconds. */
  readonly idleMs: number;
  /** Called when a timeline has versions ready to be written. */
  readonly onFrozen?: (timeline: Timeline) => void;
  readonly clock?: Clock;
}

type Known = Omit<Manifest, 'generation'>;

/** A chain of ancestors longer than this is a loop in somebody's metadata. */
const MAX_DEPTH = 10_000;

/** Never evicted sooner: who asked for it is about to use it. */
const MIN_IDLE_MS = 10_000;

/** More than are deleted while any load is under way. */
const MAX_BARRED = 10_000;

const loadedTimelines = new Gauge({ name: 'coppice_pageserver_loaded_timelines', help: 'Timelines in memory.' });

export class Timelines {
  readonly #options: TimelinesOptions;
  readonly #clock: Clock;
  readonly #loaded = new Map<TimelineId, Timeline>();
  readonly #loading = new Map<TimelineId, Promise<Timeline>>();
  /** For each load under way, what left memory since it began: manifests that it has read of these may be out of date. */
  readonly #leftDuring = new Set<Set<TimelineId>>();
  /** Those that are deleted or just being so, oldest first; object storage knows of the others. */
  readonly #barred = new Map<TimelineId, CoppiceError>();

  constructor(options: TimelinesOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  get loaded(): Iterable<Timeline> {
    return this.#loaded.values();
  }

  /** The timeline, loaded with its ancestors. Rejects with `NotFound` when it is deleted or nobody knows it. */
  async get(id: TimelineId): Promise<Timeline> {
    this.#requireOpen(id);
    const found = this.#loaded.get(id) ?? (await this.#load(id));
    found.usedAtMs = this.#clock.monotonic();
    return found;
  }

  /** The timeline if it is in memory. */
  peek(id: TimelineId): Timeline | undefined {
    return this.#loaded.get(id);
  }

  /** Whether the timeline is written anywhere: in memory or in object storage. Rejects with `NotFound` when it is deleted. */
  async exists(id: TimelineId, signal?: AbortSignal): Promise<boolean> {
    this.#requireOpen(id);
    if (await hasTombstone(this.#options.store, id, signal)) throw timelineDeleted(id);
    if (this.#loaded.has(id)) return true;
    const generation = await this.#options.attachment.generation(signal);
    return (await loadManifest(this.#options.store, id, { generation, signal })) !== undefined;
  }

  /** A timeline in memory that starts on this one. */
  childOf(id: TimelineId): TimelineId | undefined {
    for (const timeline of this.#loaded.values()) if (timeline.ancestor?.timeline.id === id) return timeline.id;
    return undefined;
  }

  /** Makes every `get` of the timeline, and of what starts on it, fail with `why`, also those under way; or lets it in again. */
  bar(id: TimelineId, why: CoppiceError): () => void {
    this.#barred.delete(id);
    this.#barred.set(id, why);
    if (this.#barred.size > MAX_BARRED) this.#barred.delete(this.#barred.keys().next().value!);
    return () => this.#barred.delete(id);
  }

  /** Takes a deleted timeline out of memory; resolves when nothing of it is being written any more. */
  async remove(id: TimelineId, why: CoppiceError): Promise<void> {
    this.bar(id, why);
    const timeline = this.#loaded.get(id);
    if (!timeline) return;
    this.#forget(timeline);
    await timeline.end(why);
  }

  /** Ids in memory after `after`, in order. */
  idsAfter(after: string): TimelineId[] {
    return [...this.#loaded.keys()].filter((id) => id > after).sort();
  }

  /** Lets idle timelines go: those unused for long, and beyond the limit the least recently used. */
  evictIdle(): void {
    const now = this.#clock.monotonic();
    const { maxLoaded, idleMs } = this.#options;
    const byUse = [...this.#loaded.values()].sort((a, b) => a.usedAtMs - b.usedAtMs);
    for (const timeline of byUse) {
      if (!timeline.isIdle) continue;
      const unusedMs = now - timeline.usedAtMs;
      if (unusedMs < MIN_IDLE_MS || (unusedMs < idleMs && this.#loaded.size <= maxLoaded)) continue;
      this.#forget(timeline);
    }
  }

  #forget(timeline: Timeline): void {
    this.#loaded.delete(timeline.id);
    for (const left of this.#leftDuring) left.add(timeline.id);
    if (timeline.ancestor) timeline.ancestor.timeline.pins -= 1;
    loadedTimelines.set(this.#loaded.size);
  }

  #requireOpen(id: TimelineId): void {
    const barred = this.#barred.get(id);
    if (barred) throw barred;
  }

  /** Loads missing ancestors first, from the oldest on; a chain is walked, not recursed into. */
  async #load(id: TimelineId): Promise<Timeline> {
    const under = this.#loading.get(id);
    if (under) return under;
    const loading = this.#loadChain(id).finally(() => this.#loading.delete(id));
    this.#loading.set(id, loading);
    return loading;
  }

  async #loadChain(id: TimelineId): Promise<Timeline> {
    const left = new Set<TimelineId>();
    this.#leftDuring.add(left);
    try {
      const known = new Map<TimelineId, Known>();
      for (;;) {
        const chain = await this.#readChain(id, known);
        for (const { timeline } of chain) this.#requireOpen(timeline);
        const isStale = chain.some(({ timeline, ancestor }) => left.has(timeline) || (ancestor && left.has(ancestor.timeline)));
        // Another load may have brought in the same ancestors meanwhile: whoever is in the map first stays.
        if (!isStale) for (const each of chain.reverse()) if (!this.#loaded.has(each.timeline)) this.#add(each);
        const loaded = this.#loaded.get(id);
        if (loaded) return loaded;
        for (const gone of left) known.delete(gone);
        left.clear();
      }
    } finally {
      this.#leftDuring.delete(left);
    }
  }

  /** What is known of a timeline and its ancestors, up to the first that is in memory, nearest first. */
  async #readChain(id: TimelineId, known: Map<TimelineId, Known>): Promise<Known[]> {
    const chain: Known[] = [];
    for (let at: TimelineId | undefined = id; at !== undefined && !this.#loaded.has(at); ) {
      if (chain.length > MAX_DEPTH) throw new CoppiceError('Corrupt', 'endless-ancestry', `timeline ${id} has more than ${MAX_DEPTH} ancestors`);
      const one: Known = known.get(at) ?? (await this.#describe(at));
      known.set(at, one);
      chain.push(one);
      at = one.ancestor?.timeline;
    }
    return chain;
  }

  async #describe(id: TimelineId): Promise<Known> {
    const { store, attachment, facts } = this.#options;
    this.#requireOpen(id);
    const generation = await attachment.generation();
    const [isDeleted, manifest] = await Promise.all([hasTombstone(store, id), loadManifest(store, id, { generation })]);
    if (isDeleted) throw timelineDeleted(id);
    if (manifest) return manifest;
    const { ancestor, systemIdentifier } = await facts(id);
    if (!ancestor) {
      throw new CoppiceError('NotYet', 'timeline-not-imported', `timeline ${id} has no ancestor and nothing was imported into it`, {
        remedy: 'Import its data directory first.',
      });
    }
    const point = { consistentLsn: ancestor.lsn, lastRecordLsn: 0, sizeChangeBlocks: 0, logicalBaseBlocks: undefined };
    return { timeline: id, ancestor, systemIdentifier, ...point, isKnownToAncestor: false, layers: [] };
  }

  #add(known: Known): void {
    const parent = known.ancestor && this.#loaded.get(known.ancestor.timeline);
    if (known.ancestor) this.#requireOpen(known.ancestor.timeline);
    if (known.ancestor && !parent) throw new CoppiceError('Unavailable', 'ancestor-evicted', `the ancestor of ${known.timeline} left memory`);
    const timeline = new Timeline({
      id: known.timeline,
      ancestor: parent && { timeline: parent, lsn: known.ancestor!.lsn },
      systemIdentifier: known.systemIdentifier,
      layers: known.layers.map((layer) => storedLayer(known.timeline, layer)),
      point: { lsn: known.consistentLsn, lastRecordLsn: known.lastRecordLsn, sizeChangeBlocks: known.sizeChangeBlocks },
      logicalBaseBlocks: known.logicalBaseBlocks,
      isKnownToAncestor: known.isKnownToAncestor,
      limits: this.#options.limits,
      onFrozen: this.#options.onFrozen,
    });
    if (parent) parent.pins += 1;
    timeline.usedAtMs = this.#clock.monotonic();
    this.#loaded.set(timeline.id, timeline);
    loadedTimelines.set(this.#loaded.size);
  }
}
