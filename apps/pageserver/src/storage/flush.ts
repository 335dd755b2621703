import { childObjectKey, layerObjectKey } from '@coppice/layers';
import type { ObjectStore } from '@coppice/object-store';
import { Counter, failpoint } from '@coppice/service-kit';
import type { Attachment } from './attachment';
import { storeOwnManifest } from './manifests';
import { storedLayer } from './stored-layer';
import type { Timeline } from './timeline';
import { writeDeltaLayer } from './write-layer';

const flushedLayers = new Counter({ name: 'coppice_pageserver_flushed_layers_total', help: 'Delta layers written from memory.' });
const flushedBytes = new Counter({ name: 'coppice_pageserver_flushed_bytes_total', help: 'Bytes of delta layers written from memory.' });

export interface FlushDeps {
  readonly store: ObjectStore;
  readonly attachment: Attachment;
}

/**
 * Writes all frozen layers of a timeline, oldest first. The order makes it safe to die anywhere: layer object, then
 * manifest, then the durable position moves and safekeepers may be told.
 */
export async function flushTimeline(timeline: Timeline, { store, attachment }: FlushDeps, signal?: AbortSignal): Promise<void> {
  const generation = await attachment.generation(signal);
  await timeline.writes.run(() => timeline.writing.run(async () => {
    for (let frozen = timeline.frozen[0]; frozen !== undefined; frozen = timeline.frozen[0]) {
      signal?.throwIfAborted();
      timeline.writes.check();
      await tellAncestor(timeline, store, signal);
      const { layer, startLsn, endLsn, point } = frozen;
      const written = layer && (await writeDeltaLayer(layer, { startLsn, endLsn, generation }));
      if (written) {
        failpoint('flush-before-layer');
        await store.put(layerObjectKey(timeline.id, written.layer), written.file, { signal });
        flushedLayers.inc();
        flushedBytes.inc(written.file.length);
      }
      failpoint('flush-before-manifest');
      const stored = written && storedLayer(timeline.id, written.layer);
      await storeOwnManifest(store, timeline, timeline.manifestAt(point, generation, stored));
      failpoint('flush-after-manifest');
      timeline.replaceFrozen(frozen, stored);
    }
  }, signal));
}

/** Before the first manifest: nobody deletes the ancestor of a timeline that has something stored. */
async function tellAncestor(timeline: Timeline, store: ObjectStore, signal: AbortSignal | undefined): Promise<void> {
  const { ancestor } = timeline;
  if (!ancestor || timeline.isKnownToAncestor) return;
  await store.put(childObjectKey(ancestor.timeline.id, timeline.id), Buffer.alloc(0), { signal });
  timeline.isKnownToAncestor = true;
}
