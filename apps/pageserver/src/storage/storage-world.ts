/** A pageserver's storage without processes around it, for tests: one object store, restarts, any tree of timelines. */
import type { OrphanedObject } from '@coppice/contracts';
import type { ObjectStore } from '@coppice/object-store';
import type { Clock } from '@coppice/service-kit';
import { CoppiceError, silentLog, systemClock } from '@coppice/service-kit';
import type { Generation, TimelineId } from '@coppice/vocabulary';
import { compactTimeline } from '../maintenance/compact-timeline';
import type { Deletion } from '../maintenance/delete-timeline';
import { deleteTimeline } from '../maintenance/delete-timeline';
import { sweepOrphans } from '../maintenance/sweep-orphans';
import { LogicalSizes } from '../read/logical-size';
import { PageCache } from '../read/page-cache';
import { TimelineReader } from '../read/timeline-reader';
import { Attachment } from './attachment';
import { announceAttachment } from './attachments';
import { flushTimeline } from './flush';
import { LayerReader } from './layer-reader';
import type { Timeline } from './timeline';
import type { TimelineFacts } from './timelines';
import { Timelines } from './timelines';

export interface StorageWorldOptions {
  readonly store: ObjectStore;
  readonly facts: ReadonlyMap<TimelineId, TimelineFacts>;
  readonly openLayerBytes?: number;
  readonly clock?: Clock;
}

export class StorageWorld {
  readonly #options: StorageWorldOptions;
  #generation = 0;
  attachment!: Attachment;
  timelines!: Timelines;
  layers!: LayerReader;
  reader!: TimelineReader;
  logicalSizes!: LogicalSizes;

  constructor(options: StorageWorldOptions) {
    this.#options = options;
    this.restart();
  }

  get store(): ObjectStore {
    return this.#options.store;
  }

  /** A new process in a new generation: only the object store is left. */
  restart(): void {
    const { store, facts, openLayerBytes = 1 << 20, clock = systemClock } = this.#options;
    this.#generation += 1;
    const generation = this.#generation as Generation;
    const announce = (of: Generation): Promise<void> => announceAttachment(store, of);
    this.attachment = new Attachment({ attach: async () => generation, announce, log: silentLog() });
    this.attachment.start();
    this.timelines = new Timelines({
      store,
      attachment: this.attachment,
      limits: { openLayerBytes, maxFrozenLayers: 4 },
      facts: async (id) => {
        const known = facts.get(id);
        if (!known) throw new CoppiceError('NotFound', 'timeline-not-found', `timeline ${id} does not exist`);
        return known;
      },
      maxLoaded: 100,
      idleMs: 60_000,
      clock,
    });
    this.layers = new LayerReader({ store, blockCacheBytes: 1 << 20, indexCacheBytes: 1 << 20 });
    this.reader = new TimelineReader(this.layers, new PageCache(1 << 20));
    this.logicalSizes = new LogicalSizes(this.reader);
  }

  async flush(timeline: Timeline): Promise<void> {
    timeline.freeze();
    await flushTimeline(timeline, { store: this.store, attachment: this.attachment });
  }

  async delete(id: TimelineId): Promise<Deletion> {
    const { store, attachment, timelines } = this;
    return deleteTimeline(id, { store, attachment, timelines, endIngest: async () => undefined, log: silentLog() });
  }

  /** A whole sweep, call after call. */
  async sweep({ dryRun = false, olderThanMs = 0, limit = 1000 } = {}): Promise<OrphanedObject[]> {
    const { store, attachment, timelines } = this;
    const { clock = systemClock } = this.#options;
    const objects: OrphanedObject[] = [];
    let cursor = '';
    do {
      const part = await sweepOrphans({ dryRun, olderThanMs, limit, cursor }, { store, attachment, timelines, clock, log: silentLog() });
      objects.push(...part.objects);
      cursor = part.nextCursor;
    } while (cursor !== '');
    return objects;
  }

  async compact(timeline: Timeline): Promise<void> {
    const { store, attachment, layers, reader } = this;
    const { clock = systemClock } = this.#options;
    await compactTimeline(timeline, { store, attachment, layers, reader, clock }, new AbortController().signal);
  }
}

export function testTimelineId(n: number): TimelineId {
  return n.toString(16).padStart(32, '0') as TimelineId;
}
