import type { Layer } from '@coppice/layers';
import type { TimelineId } from '@coppice/vocabulary';

/** A layer in object storage, known to this process by a number: the key of its cached parts. */
export interface StoredLayer extends Layer {
  readonly timeline: TimelineId;
  readonly serial: number;
}

let lastSerial = 0;

/** Gives a layer of a timeline its number in this process. */
export function storedLayer(timeline: TimelineId, layer: Layer): StoredLayer {
  lastSerial += 1;
  const { kind, startKey, endKey, startLsn, endLsn, bytes, generation } = layer;
  return { kind, startKey, endKey, startLsn, endLsn, bytes, generation, timeline, serial: lastSerial };
}
