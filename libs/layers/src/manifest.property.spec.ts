import fc from 'fast-check';
import type { Generation, PageKey, TimelineId } from '@coppice/vocabulary';
import { CorruptLayer } from './corrupt-layer';
import { generationOfKey, layerObjectKey, manifestObjectKey } from './layer';
import type { Layer } from './layer';
import type { Manifest } from './manifest';
import { decodeManifest, encodeManifest } from './manifest';

const lsn = fc.maxSafeNat();
const key = fc.uint8Array({ minLength: 18, maxLength: 18 }).map((b) => Buffer.from(b).toString('latin1') as PageKey);
const id = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((b) => Buffer.from([...b.subarray(0, 15), b[15]! | 1]).toString('hex') as TimelineId);
const generation = lsn.map((n) => n as Generation);
const layer: fc.Arbitrary<Layer> = fc.record({
  kind: fc.constantFrom('delta', 'image'),
  startKey: key,
  endKey: key,
  startLsn: lsn,
  endLsn: lsn,
  bytes: lsn,
  generation,
});
const manifest: fc.Arbitrary<Manifest> = fc.record({
  timeline: id,
  ancestor: fc.option(fc.record({ timeline: id, lsn }), { nil: undefined }),
  consistentLsn: lsn,
  lastRecordLsn: lsn,
  generation,
  systemIdentifier: fc.bigInt(0n, (1n << 64n) - 1n),
  sizeChangeBlocks: fc.maxSafeInteger(),
  layers: fc.array(layer, { maxLength: 6 }),
});

describe('manifest', () => {
  it('is read back as it was written', () => {
    fc.assert(fc.property(manifest, (m) => expect(decodeManifest(encodeManifest(m))).toEqual(m)));
  });

  it('reports any damaged byte and any missing end', () => {
    fc.assert(
      fc.property(manifest, fc.nat(), fc.integer({ min: 1, max: 255 }), (m, at, flip) => {
        const bytes = encodeManifest(m);
        const damaged = Buffer.from(bytes);
        damaged[at % bytes.length]! ^= flip;
        expect(() => decodeManifest(damaged)).toThrow(CorruptLayer);
        expect(() => decodeManifest(bytes.subarray(0, at % bytes.length))).toThrow(CorruptLayer);
      }),
    );
  });
});

describe('object keys', () => {
  it('end in the generation that wrote them', () => {
    fc.assert(
      fc.property(id, layer, (timeline, l) => {
        expect(generationOfKey(layerObjectKey(timeline, l))).toBe(l.generation);
        expect(generationOfKey(manifestObjectKey(timeline, l.generation))).toBe(l.generation);
      }),
    );
  });

  it('are short enough for a file name', () => {
    const [l] = fc.sample(layer, 1);
    const name = layerObjectKey('0'.repeat(32) as TimelineId, l!).split('/').at(-1)!;
    expect(name.length).toBeLessThan(200);
  });
});
