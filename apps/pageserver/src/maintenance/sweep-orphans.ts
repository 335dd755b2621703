/**
 * Finds and removes objects that nothing refers to, a bounded number of timelines at a time. Why an object may go is in
 * libs/layers/src/pick-orphans.ts; here its conditions are seen to. For each timeline that has orphans:
 *
 *   1. merges and flushes of the timeline are kept out, so that no name that goes is just being written
 *   2. the newest manifest is made this generation's, if it is not
 *   3. what may go is chosen again, from the manifest as it is stored and the layers that reads of this process use
 *   4. no newer pageserver may have attached (storage/attachments.ts)
 *   5. the objects go; a crash before leaves them to the next sweep
 *
 * Everything of a timeline with a tombstone goes, however young: it is late writing of something deleted. A timeline
 * without any manifest keeps its objects: an import or a first flush may be under way, and nothing fences it.
 */
import type { OrphanedObject } from '@coppice/contracts';
import type { Manifest, Orphan } from '@coppice/layers';
import { pickOrphans, TIMELINES_PREFIX, timelinePrefix, TOMBSTONES_PREFIX } from '@coppice/layers';
import type { ObjectInfo, ObjectStore } from '@coppice/object-store';
import { listAll } from '@coppice/object-store';
import type { Clock, Log } from '@coppice/service-kit';
import { Counter, failpoint } from '@coppice/service-kit';
import type { Generation, TimelineId } from '@coppice/vocabulary';
import { parseTimelineId } from '@coppice/vocabulary';
import type { Attachment } from '../storage/attachment';
import { requireNewest } from '../storage/attachments';
import { loadManifest, storeOwnManifest } from '../storage/manifests';
import type { Timeline } from '../storage/timeline';
import type { Timelines } from '../storage/timelines';
import { hasTombstone } from '../storage/tombstones';
import { removeObjects } from './delete-timeline';

export interface SweepDeps {
  readonly store: ObjectStore;
  readonly attachment: Attachment;
  readonly timelines: Timelines;
  readonly clock: Clock;
  readonly log: Log;
}

export interface SweepRequest {
  readonly dryRun: boolean;
  readonly olderThanMs: number;
  /** Objects in the answer beyond which no further timeline is looked at. */
  readonly limit: number;
  /** Empty, or where the sweep before ended. */
  readonly cursor: string;
}

export interface Sweep {
  readonly objects: readonly OrphanedObject[];
  readonly timelines: number;
  readonly nextCursor: string;
}

/** An upload and the manifest that lists it are at most so far apart. */
const MIN_AGE_MS = 3_600_000;
/** No process lives on, cut off, for longer than this. */
const TOMBSTONE_AGE_MS = 30 * 86_400_000;
/** Timelines looked at by one call. */
const TIMELINES_PER_CALL = 200;
/** Where the sweep of tombstones begins, behind all timelines. */
const TOMBSTONES_CURSOR = 'tombstones';

const sweptObjects = new Counter({ name: 'coppice_pageserver_swept_objects_total', help: 'Orphaned objects that sweeps removed.' });
const sweptBytes = new Counter({ name: 'coppice_pageserver_swept_bytes_total', help: 'Bytes of orphaned objects that sweeps removed.' });

/** One bounded part of a sweep over all of object storage. */
export async function sweepOrphans(request: SweepRequest, deps: SweepDeps, signal?: AbortSignal): Promise<Sweep> {
  const { limit, cursor } = request;
  if (cursor.startsWith(TOMBSTONES_CURSOR)) return sweepTombstones(request, deps, signal);
  const found: OrphanedObject[] = [];
  const page = await deps.store.listFolders({ prefix: TIMELINES_PREFIX, after: cursor, limit: TIMELINES_PER_CALL }, signal);
  let timelines = 0;
  let last = cursor;
  for (const folder of page.folders) {
    if (found.length >= limit) break;
    const id = parseTimelineId(folder);
    if (id) found.push(...(await sweepTimeline(id, { ...request, limit: limit - found.length }, deps, signal)));
    timelines += 1;
    last = folder;
  }
  const removed = found.filter((object) => object.removed);
  sweptObjects.inc(removed.length);
  sweptBytes.inc(removed.reduce((sum, { bytes }) => sum + bytes, 0));
  const isMore = page.truncated || timelines < page.folders.length;
  return { objects: found, timelines, nextCursor: isMore ? last : TOMBSTONES_CURSOR };
}

async function sweepTimeline(id: TimelineId, request: SweepRequest, deps: SweepDeps, signal: AbortSignal | undefined): Promise<OrphanedObject[]> {
  const { store, attachment, timelines, log } = deps;
  try {
    if (await hasTombstone(store, id, signal)) return await sweepDeleted(id, request, deps, signal);
    const generation = await attachment.generation(signal);
    const manifest = await loadManifest(store, id, { generation, signal });
    if (!manifest) return [];
    const objects = await listed(id, store, signal);
    const loaded = timelines.peek(id);
    const orphans = choose(objects, { manifest, loaded, generation }, request, deps);
    if (orphans.length === 0 || request.dryRun) return orphans.map((orphan) => answerOf(orphan, false));
    return await removeOrphans(id, objects, request, deps, signal);
  } catch (error) {
    signal?.throwIfAborted();
    log.warn({ err: error, timeline: id }, 'a timeline is left out of the sweep');
    return [];
  }
}

async function removeOrphans(
  id: TimelineId,
  objects: readonly ObjectInfo[],
  request: SweepRequest,
  deps: SweepDeps,
  signal: AbortSignal | undefined,
): Promise<OrphanedObject[]> {
  const { store, attachment, timelines } = deps;
  const generation = await attachment.generation(signal);
  const timeline = await timelines.get(id);
  timeline.pins += 1;
  try {
    return await timeline.writes.run(() =>
      timeline.merging.run(
        () =>
          timeline.writing.run(async () => {
            const manifest = timeline.manifestAt(timeline.flushed, generation);
            await storeOwnManifest(store, timeline, manifest);
            failpoint('sweep-after-manifest');
            const orphans = choose(objects, { manifest, loaded: timeline, generation }, request, deps);
            await requireNewest(store, generation, signal);
            failpoint('sweep-before-delete');
            timeline.writes.check();
            await store.deleteMany(orphans.map(({ object }) => object.key), signal);
            return orphans.map((orphan) => answerOf(orphan, true));
          }, signal),
        signal,
      ),
    );
  } finally {
    timeline.pins -= 1;
  }
}

interface Known {
  readonly manifest: Manifest;
  readonly loaded: Timeline | undefined;
  readonly generation: Generation;
}

function choose(objects: readonly ObjectInfo[], { manifest, loaded, generation }: Known, { olderThanMs, limit }: SweepRequest, { clock }: SweepDeps): Orphan<ObjectInfo>[] {
  const used = [...manifest.layers, ...(loaded?.layersInUse(clock.monotonic()) ?? [])];
  const putBeforeUnixMs = clock.now() - Math.max(olderThanMs, MIN_AGE_MS);
  const { timeline, generation: manifestGeneration } = manifest;
  return pickOrphans({ timeline, objects, manifestGeneration, used, generation, putBeforeUnixMs }).slice(0, limit);
}

async function sweepDeleted(id: TimelineId, { dryRun }: SweepRequest, { store, attachment }: SweepDeps, signal: AbortSignal | undefined): Promise<OrphanedObject[]> {
  const objects = await listed(id, store, signal);
  if (!dryRun) {
    await requireNewest(store, await attachment.generation(signal), signal);
    await removeObjects(id, store, signal);
  }
  return objects.map(({ key, size }) => ({ name: key, bytes: size, why: 'deleted-timeline', removed: !dryRun }));
}

/** Tombstones of timelines that nothing is left of, and that no process can know any more. */
async function sweepTombstones({ dryRun, limit, cursor }: SweepRequest, { store, clock }: SweepDeps, signal: AbortSignal | undefined): Promise<Sweep> {
  const after = cursor.slice(TOMBSTONES_CURSOR.length + 1) || undefined;
  const page = await store.list({ prefix: TOMBSTONES_PREFIX, after, limit: Math.min(limit, 1000) }, signal);
  const objects: OrphanedObject[] = [];
  for (const { key, size, modifiedUnixMs } of page.objects) {
    if (clock.now() - modifiedUnixMs < TOMBSTONE_AGE_MS) continue;
    const id = parseTimelineId(key.slice(key.lastIndexOf('/') + 1));
    if (!id || (await store.list({ prefix: timelinePrefix(id), limit: 1 }, signal)).objects.length > 0) continue;
    if (!dryRun) await store.delete(key, signal);
    objects.push({ name: key, bytes: size, why: 'old-tombstone', removed: !dryRun });
  }
  const last = page.objects.at(-1)?.key;
  return { objects, timelines: 0, nextCursor: page.truncated && last !== undefined ? `${TOMBSTONES_CURSOR} ${last}` : '' };
}

async function listed(id: TimelineId, store: ObjectStore, signal: AbortSignal | undefined): Promise<ObjectInfo[]> {
  const objects: ObjectInfo[] = [];
  for await (const object of listAll(store, timelinePrefix(id), signal)) objects.push(object);
  return objects;
}

function answerOf({ object, why }: Orphan<ObjectInfo>, removed: boolean): OrphanedObject {
  return { name: object.key, bytes: object.size, why, removed };
}
