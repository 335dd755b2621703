import type { Manifest } from '@coppice/layers';
import { decodeManifest, encodeManifest, generationOfKey, manifestObjectKey, manifestPrefix } from '@coppice/layers';
import type { ObjectStore } from '@coppice/object-store';
import { listAll } from '@coppice/object-store';
import { CoppiceError } from '@coppice/service-kit';
import type { Generation, TimelineId } from '@coppice/vocabulary';

/** Key and generation of a timeline's newest manifest; `undefined` when none was ever written. */
export async function newestManifest(
  store: ObjectStore,
  timeline: TimelineId,
  signal?: AbortSignal,
): Promise<{ readonly key: string; readonly generation: Generation } | undefined> {
  let newest: { key: string; generation: Generation } | undefined;
  for await (const { key } of listAll(store, manifestPrefix(timeline), signal)) {
    const of = generationOfKey(key);
    if (of !== undefined && (newest === undefined || of > newest.generation)) newest = { key, generation: of };
  }
  return newest;
}

/**
 * The newest manifest of a timeline; `undefined` when it was never written. With a generation, throws `Fenced` when a newer
 * pageserver has one.
 */
export async function loadManifest(
  store: ObjectStore,
  timeline: TimelineId,
  { generation, signal }: { generation?: Generation; signal?: AbortSignal | undefined },
): Promise<Manifest | undefined> {
  const newest = await newestManifest(store, timeline, signal);
  if (newest === undefined) return undefined;
  if (generation !== undefined && newest.generation > generation) {
    throw new CoppiceError('Fenced', 'pageserver-fenced', `timeline ${timeline} has a manifest of generation ${newest.generation}, this pageserver has ${generation}`, {
      remedy: 'Another pageserver has taken over; stop this one.',
    });
  }
  const bytes = await store.get(newest.key, signal);
  try {
    const manifest = decodeManifest(bytes);
    if (manifest.timeline !== timeline) throw new Error(`it is of timeline ${manifest.timeline}`);
    return manifest;
  } catch (error) {
    throw new CoppiceError('Corrupt', 'manifest-unreadable', `manifest ${newest.key}: ${(error as Error).message}`, {
      cause: error,
      remedy: 'Restore the object from a copy or a backup of the bucket.',
    });
  }
}

/** Stores a manifest of a loaded timeline, which from then on is this generation's. */
export async function storeOwnManifest(store: ObjectStore, timeline: { isOwned: boolean }, manifest: Manifest): Promise<void> {
  await storeManifest(store, manifest);
  timeline.isOwned = true;
}

/** Stores a manifest, replacing this generation's; durable when it resolves. */
export async function storeManifest(store: ObjectStore, manifest: Manifest): Promise<void> {
  await store.put(manifestObjectKey(manifest.timeline, manifest.generation), encodeManifest(manifest));
}
