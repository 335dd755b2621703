import type { Layer, OpenLayer } from '@coppice/layers';
import { keyAfter, LayerFileWriter } from '@coppice/layers';
import type { Generation, LsnNumber } from '@coppice/vocabulary';
import { breathe, Pace } from './breathe';

/** Bytes of a layer file and what is known of it. */
export interface WrittenLayer {
  readonly layer: Layer;
  readonly file: Buffer;
}

/** Makes a delta layer of in-memory versions, without holding up other work for long. */
export async function writeDeltaLayer(
  open: OpenLayer,
  { startLsn, endLsn, generation }: { startLsn: LsnNumber; endLsn: LsnNumber; generation: Generation },
): Promise<WrittenLayer> {
  const writer = new LayerFileWriter('delta', open.bytes);
  const pace = new Pace();
  for (const key of open.sortedKeys()) {
    let isDue = false;
    open.forEachVersion(key, (lsn, tag, bytes) => {
      writer.add(key, lsn, tag, bytes);
      isDue = pace.isDue(bytes.length) || isDue;
    });
    if (isDue) await breathe();
  }
  const { firstKey, lastKey } = writer;
  if (firstKey === undefined || lastKey === undefined) throw new Error('an open layer without versions cannot be written');
  const file = writer.finish();
  return { file, layer: { kind: 'delta', startKey: firstKey, endKey: keyAfter(lastKey), startLsn, endLsn, bytes: file.length, generation } };
}
