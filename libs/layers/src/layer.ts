/**
 * What is known of a layer without reading it. Its object's name says all of it, and ends in the generation of the
 * pageserver that wrote it, so that a stale pageserver cannot touch an object that another one uses:
 *
 *   timelines/<timeline>/delta_<start lsn>-<end lsn>_<start key>-<end key>_<generation>
 */
import type { Generation, LsnNumber, PageKey, TimelineId } from '@coppice/vocabulary';
import { pageKeyToBytes } from '@coppice/vocabulary';
import type { LayerKind } from './layer-file';

export interface Layer {
  readonly kind: LayerKind;
  /** Keys of `[startKey, endKey)`. */
  readonly startKey: PageKey;
  readonly endKey: PageKey;
  /** Delta: versions above this. Image: its one LSN. */
  readonly startLsn: LsnNumber;
  /** Delta: versions at or below this. Image: its one LSN. */
  readonly endLsn: LsnNumber;
  /** Size of the object. */
  readonly bytes: number;
  readonly generation: Generation;
}

const hex16 = (n: number): string => n.toString(16).padStart(16, '0');
const hexKey = (key: PageKey): string => pageKeyToBytes(key).toString('hex');

/** Where everything of a timeline stands in the object store. */
export function timelinePrefix(timeline: TimelineId): string {
  return `timelines/${timeline}/`;
}

export function layerObjectKey(timeline: TimelineId, layer: Layer): string {
  const lsns = `${hex16(layer.startLsn)}-${hex16(layer.endLsn)}`;
  const keys = `${hexKey(layer.startKey)}-${hexKey(layer.endKey)}`;
  return `${timelinePrefix(timeline)}${layer.kind}_${lsns}_${keys}_${generationSuffix(layer.generation)}`;
}

export function manifestPrefix(timeline: TimelineId): string {
  return `${timelinePrefix(timeline)}manifest_`;
}

export function manifestObjectKey(timeline: TimelineId, generation: Generation): string {
  return manifestPrefix(timeline) + generationSuffix(generation);
}

/** The generation that wrote an object; `undefined` when the key does not end in one. */
export function generationOfKey(key: string): Generation | undefined {
  const match = /_([0-9a-f]{16})$/.exec(key);
  return match ? (Number.parseInt(match[1]!, 16) as Generation) : undefined;
}

function generationSuffix(generation: Generation): string {
  return hex16(generation);
}
