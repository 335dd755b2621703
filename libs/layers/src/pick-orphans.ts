/**
 * Which objects of a timeline nothing refers to and nothing ever will. Deleting is safe only under two conditions that the
 * caller sees to: the newest manifest is of the caller's own generation (whatever an older pageserver still writes is then
 * read by nobody), and no newer pageserver had attached when the manifest was already there (a newer one starts from it,
 * or from what replaces it). Then
 *
 *   manifest of an older generation      goes: the newest was made of it
 *   layer that is listed, or in use      stays
 *   layer of a newer generation          stays: it is another pageserver's
 *   layer of an older generation         goes: who wrote it cannot list it any more
 *   layer of the own generation          goes if a listed one covers more than its LSNs: it was merged, and nothing is
 *                                        written under its name again. Others may be an upload that is tried again
 *                                        under the same name, which a delete that arrives late would then hit.
 *
 * Younger objects than a given time stay in any case, and so does whatever has another name.
 */
import type { Generation, TimelineId } from '@coppice/vocabulary';
import type { Layer } from './layer';
import { generationOfKey, layerObjectKey, manifestPrefix, parseLayerName, timelinePrefix } from './layer';

export interface StoredObject {
  readonly key: string;
  readonly size: number;
  readonly modifiedUnixMs: number;
}

export type OrphanReason = 'superseded-manifest' | 'superseded-layer' | 'abandoned-layer';

export interface Orphan<O extends StoredObject = StoredObject> {
  readonly object: O;
  readonly why: OrphanReason;
}

export interface OrphanSearch<O extends StoredObject> {
  readonly timeline: TimelineId;
  /** Any objects of the timeline. */
  readonly objects: readonly O[];
  /** Generation of the newest manifest. */
  readonly manifestGeneration: Generation;
  /** Layers that the newest manifest lists, and those that this process uses. */
  readonly used: readonly Layer[];
  /** The caller's own. */
  readonly generation: Generation;
  /** Objects put after this stay. */
  readonly putBeforeUnixMs: number;
}

export function pickOrphans<O extends StoredObject>(search: OrphanSearch<O>): Orphan<O>[] {
  const { timeline, objects, used, putBeforeUnixMs } = search;
  const usedKeys = new Set(used.map((layer) => layerObjectKey(timeline, layer)));
  const ranges = new Map(used.filter(({ kind }) => kind === 'delta').map((layer) => [`${layer.startLsn} ${layer.endLsn}`, layer]));
  const orphans: Orphan<O>[] = [];
  for (const object of objects) {
    if (object.modifiedUnixMs >= putBeforeUnixMs || usedKeys.has(object.key)) continue;
    const why = object.key.startsWith(manifestPrefix(timeline)) ? whyManifest(object.key, search) : whyLayer(object.key, search, ranges.values());
    if (why) orphans.push({ object, why });
  }
  return orphans;
}

function whyManifest(key: string, { manifestGeneration }: Pick<OrphanSearch<StoredObject>, 'manifestGeneration'>): OrphanReason | undefined {
  const generation = generationOfKey(key);
  return generation !== undefined && generation < manifestGeneration ? 'superseded-manifest' : undefined;
}

function whyLayer(key: string, { timeline, generation }: Pick<OrphanSearch<StoredObject>, 'timeline' | 'generation'>, ranges: Iterable<Layer>): OrphanReason | undefined {
  const prefix = timelinePrefix(timeline);
  const layer = key.startsWith(prefix) ? parseLayerName(key.slice(prefix.length)) : undefined;
  if (!layer || layer.generation > generation) return undefined;
  if (layer.kind === 'delta') for (const range of ranges) if (coversMore(range, layer)) return 'superseded-layer';
  return layer.generation < generation ? 'abandoned-layer' : undefined;
}

type LsnRange = Pick<Layer, 'startLsn' | 'endLsn'>;

function coversMore(a: LsnRange, b: LsnRange): boolean {
  return a.startLsn <= b.startLsn && a.endLsn >= b.endLsn && (a.startLsn < b.startLsn || a.endLsn > b.endLsn);
}
