/**
 * A deleted timeline has an empty object that says so, apart from its own objects. It is there before anything else goes,
 * and wins over whatever is found of the timeline: what a pageserver of an older generation writes late cannot bring the
 * timeline back. Timeline ids are never given twice, so a tombstone says nothing new after a while; the sweep removes it
 * once no process can be left that knew the timeline.
 */
import { tombstoneObjectKey } from '@coppice/layers';
import type { ObjectStore } from '@coppice/object-store';
import { CoppiceError } from '@coppice/service-kit';
import type { TimelineId } from '@coppice/vocabulary';

export async function hasTombstone(store: ObjectStore, timeline: TimelineId, signal?: AbortSignal): Promise<boolean> {
  return (await store.head(tombstoneObjectKey(timeline), signal)) !== undefined;
}

export async function putTombstone(store: ObjectStore, timeline: TimelineId, signal?: AbortSignal): Promise<void> {
  await store.put(tombstoneObjectKey(timeline), Buffer.alloc(0), { signal });
}

/** What everything about a deleted timeline fails with. */
export function timelineDeleted(timeline: TimelineId): CoppiceError {
  return new CoppiceError('NotFound', 'timeline-deleted', `timeline ${timeline} is deleted`);
}

/** Whether an error says that a timeline is deleted, here or at a safekeeper. */
export function isTimelineDeleted(error: unknown): error is CoppiceError {
  return error instanceof CoppiceError && error.code === 'timeline-deleted';
}
