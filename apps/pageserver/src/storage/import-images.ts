/**
 * A timeline without WAL: all of it is images at one LSN, written as image layers that together cover the whole key
 * space, then the manifest. It exists once the manifest does.
 */
import type { Layer } from '@coppice/layers';
import { LayerFileWriter, layerObjectKey, MAX_KEY, MIN_KEY } from '@coppice/layers';
import type { ObjectStore } from '@coppice/object-store';
import { CoppiceError } from '@coppice/service-kit';
import { BLOCK_SIZE, type LsnNumber, type PageKey, type TimelineId } from '@coppice/vocabulary';
import type { Attachment } from './attachment';
import { breathe, Pace } from './breathe';
import { storeManifest } from './manifests';
import { hasTombstone, timelineDeleted } from './tombstones';
import type { Timelines } from './timelines';

export interface ImageImport {
  readonly timeline: TimelineId;
  readonly lsn: LsnNumber;
  /** Start of the record that ends at `lsn`. */
  readonly lastRecordLsn: LsnNumber;
  readonly systemIdentifier: bigint;
  /** Blocks that a user sees. */
  readonly logicalBlocks: number;
  /** Values that are there at `lsn`, in ascending order of their keys. */
  readonly entries: Iterable<readonly [PageKey, Buffer]> | AsyncIterable<readonly [PageKey, Buffer]>;
}

export interface ImportDeps {
  readonly store: ObjectStore;
  readonly attachment: Attachment;
  readonly timelines: Timelines;
}

/** Bytes after which a layer file is closed. */
const LAYER_BYTES = 64 * 1024 * 1024;

/** Writes the timeline; durable when it resolves. `Conflict` when it exists already. */
export async function importImages(source: ImageImport, { store, attachment, timelines }: ImportDeps): Promise<void> {
  const generation = await attachment.generation();
  const { timeline, lsn } = source;
  if (await timelines.exists(timeline)) {
    throw new CoppiceError('Conflict', 'timeline-exists', `timeline ${timeline} exists already`, { remedy: 'Import into a new timeline id.' });
  }
  const layers: Layer[] = [];
  const expected = Math.min(LAYER_BYTES, source.logicalBlocks * BLOCK_SIZE);
  let writer = new LayerFileWriter('image', expected);
  let startKey = MIN_KEY;
  const pace = new Pace();
  const end = async (endKey: PageKey): Promise<void> => {
    const file = writer.finish();
    const layer: Layer = { kind: 'image', startKey, endKey, startLsn: lsn, endLsn: lsn, bytes: file.length, generation };
    await store.put(layerObjectKey(timeline, layer), file);
    layers.push(layer);
    writer = new LayerFileWriter('image', expected);
    startKey = endKey;
  };
  for await (const [key, bytes] of source.entries) {
    if (writer.size >= LAYER_BYTES) await end(key);
    writer.add(key, lsn, 0, bytes);
    if (pace.isDue(bytes.length)) await breathe();
  }
  await end(MAX_KEY);
  if (await hasTombstone(store, timeline)) throw timelineDeleted(timeline);
  await storeManifest(store, {
    timeline,
    ancestor: undefined,
    consistentLsn: lsn,
    lastRecordLsn: source.lastRecordLsn,
    generation,
    systemIdentifier: source.systemIdentifier,
    sizeChangeBlocks: source.logicalBlocks,
    logicalBaseBlocks: 0,
    isKnownToAncestor: false,
    layers,
  });
}
