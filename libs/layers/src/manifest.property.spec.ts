import { crc32c } from '@coppice/bytes';
import fc from 'fast-check';
import type { Generation, PageKey, TimelineId } from '@coppice/vocabulary';
import { CorruptLayer } from './corrupt-layer';
import { generationOfKey, layerObjectKey, manifestObjectKey, parseLayerName, timelinePrefix } from './layer';
import type { Layer } from './layer';
import type { Manifest } from './manifest';
import { decodeManifest, decodeManifestHead, encodeManifest, MANIFEST_HEAD_BYTES } from './manifest';

const lsn = fc.maxSafeNat();
const key = fc.uint8Array({ minLength: 18, maxLength: 18 }).map((b) => Buffer.from(b).toString('latin1') as PageKey);
const id = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((b) => Buffer.from([...b.subarray(0, 15), b[15]! | 1]).toString('hex') as TimelineId);
const generation = lsn.map((n) => n as Generation);
/** Small enough that sizes of several layers add up exactly. */
const size = fc.nat();
const layer: fc.Arbitrary<Layer> = fc.record({
  kind: fc.constantFrom('delta', 'image'),
  startKey: key,
  endKey: key,
  startLsn: lsn,
  endLsn: lsn,
  bytes: size,
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
  logicalBaseBlocks: fc.option(fc.maxSafeNat(), { nil: undefined }),
  isKnownToAncestor: fc.boolean(),
  layers: fc.array(layer, { maxLength: 6 }),
});

describe('manifest', () => {
  it('is read back as it was written', () => {
    fc.assert(fc.property(manifest, (m) => expect(decodeManifest(encodeManifest(m))).toEqual(m)));
  });

  it('has a head that says all but the layers', () => {
    fc.assert(
      fc.property(manifest, (m) => {
        const { layers, ...head } = m;
        const layerBytes = layers.reduce((sum, { bytes }) => sum + bytes, 0);
        const bytes = encodeManifest(m).subarray(0, MANIFEST_HEAD_BYTES);
        expect(decodeManifestHead(bytes)).toEqual({ ...head, layerBytes, layerCount: layers.length });
      }),
    );
  });

  it('of version 1 is read, with what it did not know', () => {
    const w = Buffer.from('43504d4601000000', 'hex');
    const ids = Buffer.from(`${'ab'.repeat(16)}${'cd'.repeat(16)}`, 'hex');
    const numbers = Buffer.alloc(52);
    [100, 300, 250, 7, 9, 12].forEach((n, i) => numbers.writeBigInt64LE(BigInt(n), i * 8));
    const body = Buffer.concat([w, ids, numbers]);
    const crc = Buffer.alloc(4);
    crc.writeUInt32LE(crc32c(body));
    const bytes = Buffer.concat([body, crc]);
    expect(decodeManifestHead(bytes)).toBeUndefined();
    expect(decodeManifest(bytes)).toEqual({
      timeline: 'ab'.repeat(16),
      ancestor: { timeline: 'cd'.repeat(16), lsn: 100 },
      consistentLsn: 300,
      lastRecordLsn: 250,
      generation: 7,
      systemIdentifier: 9n,
      sizeChangeBlocks: 12,
      logicalBaseBlocks: undefined,
      isKnownToAncestor: false,
      layers: [],
    });
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
        expect(parseLayerName(layerObjectKey(timeline, l).slice(timelinePrefix(timeline).length))).toEqual({
          kind: l.kind,
          startLsn: l.startLsn,
          endLsn: l.endLsn,
          generation: l.generation,
        });
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
