import type { Run } from '@coppice/layers';
import { keyAfter, LayerFileWriter, layerObjectKey, pickCompaction } from '@coppice/layers';
import type { Layer } from '@coppice/layers';
import type { ObjectStore } from '@coppice/object-store';
import type { Clock } from '@coppice/service-kit';
import { Counter, failpoint, systemClock } from '@coppice/service-kit';
import type { TimelineReader } from '../read/timeline-reader';
import type { Attachment } from '../storage/attachment';
import { breathe, Pace } from '../storage/breathe';
import type { LayerReader } from '../storage/layer-reader';
import { storeOwnManifest } from '../storage/manifests';
import type { StoredLayer } from '../storage/stored-layer';
import { storedLayer } from '../storage/stored-layer';
import type { Timeline } from '../storage/timeline';
import { hasWholeAncestry } from '../storage/has-whole-ancestry';
import { mergeRuns } from './merge-runs';
import { PageImager } from './page-imager';

export interface CompactionDeps {
  readonly store: ObjectStore;
  readonly attachment: Attachment;
  readonly layers: LayerReader;
  readonly reader: TimelineReader;
  readonly clock?: Clock;
}

/** A file is closed at this size, at the next key. */
const LAYER_BYTES = 64 * 1024 * 1024;

const compactions = new Counter({ name: 'coppice_pageserver_compactions_total', help: 'Merges of delta runs.' });
const compactedBytes = new Counter({ name: 'coppice_pageserver_compacted_bytes_total', help: 'Bytes of layers that merges wrote.' });

/**
 * Merges the delta runs that reading suffers from most into one, split by keys; long chains of records get images on the
 * way. The merged layers are stored, then the manifest lists them instead. Old objects stay for whoever still reads them.
 * Does nothing while an ancestor is behind: an image would then be made of an older page than the records were.
 */
export async function compactTimeline(timeline: Timeline, deps: CompactionDeps, signal: AbortSignal): Promise<void> {
  await timeline.writes.run(() => timeline.merging.run(() => merge(timeline, deps, signal), signal));
}

async function merge(timeline: Timeline, deps: CompactionDeps, signal: AbortSignal): Promise<void> {
  const { store, attachment, layers, reader, clock = systemClock } = deps;
  const runs = pickCompaction(timeline.layers, timeline.durableLsn);
  if (runs === undefined || !hasWholeAncestry(timeline)) return;
  const generation = await attachment.generation(signal);
  const range = { startLsn: Math.min(...runs.map((r) => r.startLsn)), endLsn: Math.max(...runs.map((r) => r.endLsn)) };
  const added: StoredLayer[] = [];
  const removed = runs.flatMap((run) => run.layers);
  let toWrite = removed.reduce((bytes, layer) => bytes + layer.bytes, 0);
  let writer: LayerFileWriter | undefined;
  const pace = new Pace();
  const end = async (): Promise<void> => {
    if (writer?.firstKey === undefined || writer.lastKey === undefined) return;
    const { firstKey, lastKey } = writer;
    timeline.writes.check();
    const file = writer.finish();
    const layer: Layer = { kind: 'delta', startKey: firstKey, endKey: keyAfter(lastKey), ...range, bytes: file.length, generation };
    await store.put(layerObjectKey(timeline.id, layer), file, { signal });
    compactedBytes.inc(file.length);
    added.push(storedLayer(timeline.id, layer));
    toWrite -= file.length;
    writer = undefined;
  };
  const imager = new PageImager(timeline, reader);
  for await (const { key, lsn, tag, bytes } of mergeRuns(oldestFirst(runs), layers)) {
    if (writer && writer.size >= LAYER_BYTES && key !== writer.lastKey) await end();
    writer ??= new LayerFileWriter('delta', Math.min(LAYER_BYTES, Math.max(0, toWrite)));
    const image = imager.isDue(key, tag) ? await imager.image(key, lsn) : undefined;
    if (image) writer.add(key, lsn, 0, image);
    else writer.add(key, lsn, tag, bytes);
    if (!pace.isDue((image ?? bytes).length)) continue;
    await breathe();
    signal.throwIfAborted();
    timeline.writes.check();
  }
  await end();
  failpoint('compact-before-manifest');
  await timeline.writing.run(async () => {
    timeline.writes.check();
    timeline.replaceLayers({ added, removed }, clock.monotonic());
    await storeOwnManifest(store, timeline, timeline.manifestAt(timeline.flushed, generation));
  }, signal);
  compactions.inc();
}

function oldestFirst(runs: readonly Run<StoredLayer>[]): Run<StoredLayer>[] {
  return [...runs].sort((a, b) => a.endLsn - b.endLsn || a.startLsn - b.startLsn);
}
