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

/** All timelines that have objects are folders below this. */
export const TIMELINES_PREFIX = 'timelines/';
/** Tombstones stand apart from what they are of, so that nothing of a deleted timeline has to stay. */
export const TOMBSTONES_PREFIX = 'deleted/';
/** One object for each pageserver that attached: `attachmentObjectKey`. */
export const ATTACHMENTS_PREFIX = 'attachments/';

/** An empty object that says that the timeline is deleted, whatever else there is of it. */
export function tombstoneObjectKey(timeline: TimelineId): string {
  return `${TOMBSTONES_PREFIX}${timeline.slice(0, 2)}/${timeline}`;
}

/** Where a timeline keeps the names of those that start on it and have written. */
export function childrenPrefix(timeline: TimelineId): string {
  return `${timelinePrefix(timeline)}child_`;
}

/** An empty object that says that `child` starts on `timeline`. */
export function childObjectKey(timeline: TimelineId, child: TimelineId): string {
  return childrenPrefix(timeline) + child;
}

/** An empty object that says that a pageserver of this generation has attached. */
export function attachmentObjectKey(generation: Generation): string {
  return ATTACHMENTS_PREFIX + generationSuffix(generation);
}

/** The generation of an attachment's object. */
export function generationOfAttachment(key: string): Generation | undefined {
  const match = /^attachments\/([0-9a-f]{16})$/.exec(key);
  return match ? (Number.parseInt(match[1]!, 16) as Generation) : undefined;
}

const LAYER_NAME = /^(delta|image)_([0-9a-f]{16})-([0-9a-f]{16})_[0-9a-f]{36}-[0-9a-f]{36}_([0-9a-f]{16})$/;

/** What a layer object's name (behind the timeline's prefix) says but its keys; `undefined` for other objects. */
export function parseLayerName(name: string): Pick<Layer, 'kind' | 'startLsn' | 'endLsn' | 'generation'> | undefined {
  const match = LAYER_NAME.exec(name);
  if (!match) return undefined;
  const [startLsn, endLsn, generation] = match.slice(2).map((hex) => Number.parseInt(hex, 16));
  return { kind: match[1] as LayerKind, startLsn: startLsn!, endLsn: endLsn!, generation: generation as Generation };
}

/** The generation that wrote an object; `undefined` when the key does not end in one. */
export function generationOfKey(key: string): Generation | undefined {
  const match = /_([0-9a-f]{16})$/.exec(key);
  return match ? (Number.parseInt(match[1]!, 16) as Generation) : undefined;
}

function generationSuffix(generation: Generation): string {
  return hex16(generation);
}
