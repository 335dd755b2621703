/**
 * Deleting a timeline for ever. Each step is durable before the next begins, and doing all of them again does no harm:
 *
 *   1. no timeline may start on it (in memory, or as children's objects say)
 *   2. its tombstone: from here on it does not exist, whatever else is found of it
 *   3. it leaves memory: ingest ends, writes under way end, waits fail with `timeline-deleted`
 *   4. no newer pageserver may have attached before the tombstone: it could have the timeline in use
 *   5. its layers go, then its name among its ancestor's children, then its manifests, which say who the ancestor is
 *
 * The tombstone stays (storage/tombstones.ts).
 */
import { childObjectKey, childrenPrefix, manifestPrefix, timelinePrefix } from '@coppice/layers';
import type { ObjectInfo, ObjectStore } from '@coppice/object-store';
import { listAll } from '@coppice/object-store';
import type { Log } from '@coppice/service-kit';
import { CoppiceError, failpoint } from '@coppice/service-kit';
import type { TimelineId } from '@coppice/vocabulary';
import { requireNewest } from '../storage/attachments';
import type { Attachment } from '../storage/attachment';
import { loadManifest } from '../storage/manifests';
import { hasTombstone, putTombstone, timelineDeleted } from '../storage/tombstones';
import type { Timelines } from '../storage/timelines';

export interface DeletionDeps {
  readonly store: ObjectStore;
  readonly attachment: Attachment;
  readonly timelines: Timelines;
  /** Ends ingest of a timeline; resolves when it has ended. */
  readonly endIngest: (timeline: TimelineId) => Promise<void>;
  readonly log: Log;
}

export interface Deletion {
  readonly removedObjects: number;
  readonly removedBytes: number;
}

/** Deletes a timeline; durable when it resolves. `Conflict` while another starts on it. */
export async function deleteTimeline(id: TimelineId, deps: DeletionDeps, signal?: AbortSignal): Promise<Deletion> {
  const { store, attachment, timelines, endIngest, log } = deps;
  const generation = await attachment.generation(signal);
  if (!(await hasTombstone(store, id, signal))) await leaveTombstone(id, deps, signal);
  const writes = timelines.remove(id, timelineDeleted(id));
  await endIngest(id);
  await writes;
  await requireNewest(store, generation, signal);
  const removed = await removeObjects(id, store, signal);
  log.info({ timeline: id, ...removed }, 'timeline is deleted');
  return removed;
}

/** Nothing may start on the timeline between the look at its children and its tombstone, so loads wait for the end of it. */
async function leaveTombstone(id: TimelineId, deps: DeletionDeps, signal: AbortSignal | undefined): Promise<void> {
  const { store, timelines } = deps;
  await requireNoChildren(id, deps, signal);
  const open = timelines.bar(
    id,
    new CoppiceError('Locked', 'timeline-being-deleted', `timeline ${id} is being deleted`, { remedy: 'Try again shortly.' }),
  );
  try {
    await requireNoChildren(id, deps, signal);
    failpoint('delete-before-tombstone');
    await putTombstone(store, id, signal);
    failpoint('delete-after-tombstone');
  } catch (error) {
    open();
    throw error;
  }
}

async function requireNoChildren(id: TimelineId, { store, timelines }: DeletionDeps, signal: AbortSignal | undefined): Promise<void> {
  const child = timelines.childOf(id) ?? (await storedChildOf(id, store, signal));
  if (child === undefined) return;
  throw new CoppiceError('Conflict', 'timeline-has-children', `timeline ${child} starts on timeline ${id}`, {
    remedy: 'Delete the timelines that start on it first.',
  });
}

/** A child that is deleted and whose name stayed is none. */
async function storedChildOf(id: TimelineId, store: ObjectStore, signal: AbortSignal | undefined): Promise<TimelineId | undefined> {
  const prefix = childrenPrefix(id);
  for await (const { key } of listAll(store, prefix, signal)) {
    const child = key.slice(prefix.length) as TimelineId;
    if (!(await hasTombstone(store, child, signal))) return child;
  }
  return undefined;
}

/** Removes all that a timeline with a tombstone has left. */
export async function removeObjects(id: TimelineId, store: ObjectStore, signal?: AbortSignal): Promise<Deletion> {
  const manifests: ObjectInfo[] = [];
  let removed: Deletion = { removedObjects: 0, removedBytes: 0 };
  let batch: ObjectInfo[] = [];
  const remove = async (objects: readonly ObjectInfo[]): Promise<void> => {
    await store.deleteMany(objects.map(({ key }) => key), signal);
    const bytes = objects.reduce((sum, { size }) => sum + size, 0);
    removed = { removedObjects: removed.removedObjects + objects.length, removedBytes: removed.removedBytes + bytes };
  };
  for await (const object of listAll(store, timelinePrefix(id), signal)) {
    if (object.key.startsWith(manifestPrefix(id))) manifests.push(object);
    else batch.push(object);
    if (batch.length < BATCH) continue;
    await remove(batch);
    batch = [];
  }
  await remove(batch);
  failpoint('delete-after-layers');
  const ancestor = manifests.length > 0 ? await ancestorOf(id, store, signal) : undefined;
  if (ancestor) await store.delete(childObjectKey(ancestor, id), signal);
  failpoint('delete-before-manifests');
  await remove(manifests);
  return removed;
}

const BATCH = 1000;

/** A manifest that cannot be read costs the name among the children only, and a look at it sees that it means nothing. */
async function ancestorOf(id: TimelineId, store: ObjectStore, signal: AbortSignal | undefined): Promise<TimelineId | undefined> {
  try {
    return (await loadManifest(store, id, { signal }))?.ancestor?.timeline;
  } catch (error) {
    if (error instanceof CoppiceError && error.kind === 'Corrupt') return undefined;
    throw error;
  }
}
