/**
 * Sizes of many timelines at once, without loading any: one in memory costs a look, once it is known what it started with;
 * for another one its manifests are listed, its tombstone looked for at the same time, and the head of the newest manifest
 * read, whatever it lists.
 */
import type { TimelineSizes } from '@coppice/contracts';
import { decodeManifest, decodeManifestHead, MANIFEST_HEAD_BYTES } from '@coppice/layers';
import type { ManifestHead } from '@coppice/layers';
import type { ObjectStore } from '@coppice/object-store';
import type { Log } from '@coppice/service-kit';
import { Semaphore } from '@coppice/service-kit';
import type { TimelineId } from '@coppice/vocabulary';
import { BLOCK_SIZE, lsn as toLsn } from '@coppice/vocabulary';
import { newestManifest } from '../storage/manifests';
import type { Timeline } from '../storage/timeline';
import type { Timelines } from '../storage/timelines';
import { hasTombstone } from '../storage/tombstones';
import type { LogicalSize, LogicalSizes } from './logical-size';

export interface SizesDeps {
  readonly store: ObjectStore;
  readonly timelines: Timelines;
  readonly logicalSizes: LogicalSizes;
  readonly log: Log;
}

/** Timelines looked for in object storage at once, for one request. */
const CONCURRENT = 32;

/** The sizes in the order of the ids. One that is unknown or unreadable says so; it does not fail the others. */
export async function timelineSizes(ids: readonly TimelineId[], deps: SizesDeps, signal?: AbortSignal): Promise<TimelineSizes[]> {
  const slots = new Semaphore(CONCURRENT, ids.length);
  return Promise.all(
    ids.map((id) => {
      const loaded = deps.timelines.peek(id);
      if (loaded && !deps.logicalSizes.now(loaded).isEstimate) return sizesInMemory(loaded, deps.logicalSizes.now(loaded));
      return slots.run(() => (loaded ? sizesOfNew(loaded, deps, signal) : sizesInStore(id, deps, signal)), signal);
    }),
  );
}

/** What a timeline started with is looked up once, and remembered. */
async function sizesOfNew(timeline: Timeline, { logicalSizes, log }: SizesDeps, signal: AbortSignal | undefined): Promise<TimelineSizes> {
  try {
    return sizesInMemory(timeline, await logicalSizes.of(timeline, signal));
  } catch (error) {
    signal?.throwIfAborted();
    log.warn({ err: error, timeline: timeline.id }, 'logical size at the start of a timeline cannot be read, is estimated');
    return sizesInMemory(timeline, logicalSizes.now(timeline));
  }
}

function sizesInMemory(timeline: Timeline, { bytes, isEstimate }: LogicalSize): TimelineSizes {
  return {
    timelineId: timeline.id,
    state: 'known',
    ingestedLsn: toLsn(timeline.finished.lsn),
    logicalSizeBytes: bytes,
    logicalSizeIsEstimate: isEstimate,
    ownBytes: timeline.ownBytes,
    writtenWalBytes: timeline.writtenWalBytes,
    growthBytes: Math.max(0, timeline.sizeChangeBlocks) * BLOCK_SIZE,
  };
}

async function sizesInStore(id: TimelineId, { store, log }: SizesDeps, signal: AbortSignal | undefined): Promise<TimelineSizes> {
  try {
    const [isDeleted, newest] = await Promise.all([hasTombstone(store, id, signal), newestManifest(store, id, signal)]);
    if (isDeleted) return withoutSizes(id, 'deleted');
    if (!newest) return withoutSizes(id, 'unknown');
    return sizesOf(await headOf(newest.key, store, signal));
  } catch (error) {
    signal?.throwIfAborted();
    log.warn({ err: error, timeline: id }, 'sizes of a timeline cannot be read');
    return withoutSizes(id, 'unreadable');
  }
}

async function headOf(key: string, store: ObjectStore, signal: AbortSignal | undefined): Promise<ManifestHead> {
  const head = decodeManifestHead(await store.getRange(key, { offset: 0, length: MANIFEST_HEAD_BYTES }, signal));
  if (head) return head;
  const { layers, ...rest } = decodeManifest(await store.get(key, signal));
  return { ...rest, layerBytes: layers.reduce((sum, { bytes }) => sum + bytes, 0), layerCount: layers.length };
}

function sizesOf(head: ManifestHead): TimelineSizes {
  const { timeline, ancestor, consistentLsn, logicalBaseBlocks, sizeChangeBlocks, layerBytes } = head;
  return {
    timelineId: timeline,
    state: 'known',
    ingestedLsn: toLsn(consistentLsn),
    logicalSizeBytes: Math.max(0, (logicalBaseBlocks ?? 0) + sizeChangeBlocks) * BLOCK_SIZE,
    logicalSizeIsEstimate: ancestor !== undefined && logicalBaseBlocks === undefined,
    ownBytes: layerBytes,
    writtenWalBytes: ancestor ? consistentLsn - ancestor.lsn : 0,
    growthBytes: Math.max(0, sizeChangeBlocks) * BLOCK_SIZE,
  };
}

function withoutSizes(timelineId: TimelineId, state: TimelineSizes['state']): TimelineSizes {
  const nothing = { logicalSizeBytes: 0, logicalSizeIsEstimate: true, ownBytes: 0, writtenWalBytes: 0, growthBytes: 0 };
  return { timelineId, state, ingestedLsn: toLsn(0), ...nothing };
}
