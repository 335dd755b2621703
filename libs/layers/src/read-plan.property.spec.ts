import fc from 'fast-check';
import type { Generation } from '@coppice/vocabulary';
import { keyAfter, MAX_KEY, MIN_KEY } from './key-range';
import type { Layer } from './layer';
import { valueTag } from './layer-block';
import { LayerMap } from './layer-map';
import type { Version } from './model/version-model';
import { anyHistory, expectedVersions, testKey } from './model/version-model';
import { planReads } from './read-plan';
import { VersionSearch } from './versions';

const KEYS = 12;

interface TestLayer extends Layer {
  readonly versions: readonly Version[];
}

function layerOf(kind: 'delta' | 'image', range: { startKey: Layer['startKey']; endKey: Layer['endKey']; startLsn: number; endLsn: number }, versions: readonly Version[]): TestLayer {
  return { kind, ...range, bytes: versions.length, generation: 1 as Generation, versions };
}

/** Delta runs between the cuts, each split by keys at `splits`. */
function deltaLayers(history: readonly Version[], cuts: readonly number[], splits: readonly number[]): TestLayer[] {
  const bounds = [...new Set([0, ...cuts, 1_000_000])].sort((a, b) => a - b);
  return bounds.slice(1).flatMap((endLsn, i) => {
    const startLsn = bounds[i]!;
    const keyBounds = [MIN_KEY, ...[...new Set(splits)].sort((a, b) => a - b).map(testKey), MAX_KEY];
    return keyBounds.slice(1).flatMap((end, k) => {
      const among = history.filter((v) => v.lsn > startLsn && v.lsn <= endLsn && v.key >= keyBounds[k]! && v.key < end);
      if (among.length === 0) return [];
      const keys = among.map((v) => v.key).sort();
      return [layerOf('delta', { startKey: keys[0]!, endKey: keyAfter(keys.at(-1)!), startLsn, endLsn }, among)];
    });
  });
}

/** All keys as of an LSN, as an image layer has them: here simply their newest version, as an image of that LSN. */
function imageLayers(history: readonly Version[], lsn: number): TestLayer[] {
  const versions = Array.from({ length: KEYS }, (_, n) => testKey(n)).flatMap((key) => {
    const [newest] = expectedVersions(history, key, lsn);
    return newest ? [{ key, lsn, value: { kind: 'image' as const, bytes: newest.value.bytes } }] : [];
  });
  return [layerOf('image', { startKey: MIN_KEY, endKey: MAX_KEY, startLsn: lsn, endLsn: lsn }, versions)];
}

function carryOut(map: LayerMap<TestLayer>, search: VersionSearch): TestLayer[] {
  const asked: TestLayer[] = [];
  for (const { layer, searches } of planReads(map, [search])) {
    if (search.done) break;
    asked.push(layer);
    if (layer.kind === 'image') search.enterImage();
    for (const one of searches) {
      for (const v of [...layer.versions].filter((x) => x.key === one.key).sort((a, b) => b.lsn - a.lsn)) {
        if (v.lsn <= one.lsn && v.lsn > one.floor && !one.done) one.take(v.lsn, valueTag(v.value), v.value.bytes);
      }
    }
    if (layer.kind === 'image') search.done = true;
  }
  return asked;
}

describe('read plan', () => {
  it('leads to the versions that a look through everything finds', () => {
    fc.assert(
      fc.property(anyHistory(KEYS, 80), fc.array(fc.nat(12_000), { maxLength: 6 }), fc.array(fc.nat(KEYS), { maxLength: 3 }), fc.nat(KEYS), fc.nat(13_000), (history, cuts, splits, n, lsn) => {
        const map = LayerMap.of(deltaLayers(history, cuts, splits));
        const search = new VersionSearch(testKey(n), lsn);
        carryOut(map, search);
        expect(search.lsns).toEqual(expectedVersions(history, testKey(n), lsn).map((v) => v.lsn));
      }),
    );
  });

  it('takes from a delta layer that reaches below an image only what the image lacks', () => {
    fc.assert(
      fc.property(anyHistory(KEYS, 80), fc.array(fc.nat(12_000), { maxLength: 6 }), fc.nat(12_000), fc.nat(KEYS - 1), fc.nat(13_000), (history, cuts, imageLsn, n, lsn) => {
        const map = LayerMap.of([...deltaLayers(history, cuts, []), ...imageLayers(history, imageLsn)]);
        const search = new VersionSearch(testKey(n), lsn);
        carryOut(map, search);
        const [image] = imageLayers(history, imageLsn);
        const seen = lsn < imageLsn ? history : [...history.filter((v) => v.lsn > imageLsn), ...image!.versions];
        expect(search.lsns).toEqual(expectedVersions(seen, testKey(n), lsn).map((v) => v.lsn));
      }),
    );
  });

  it('asks no layer below the one that answers, and none of other keys or newer positions', () => {
    fc.assert(
      fc.property(anyHistory(KEYS, 80), fc.array(fc.nat(12_000), { maxLength: 6 }), fc.nat(KEYS - 1), fc.nat(13_000), (history, cuts, n, lsn) => {
        const search = new VersionSearch(testKey(n), lsn);
        const asked = carryOut(LayerMap.of(deltaLayers(history, cuts, [4, 8])), search);
        for (const layer of asked) {
          expect(layer.startKey <= testKey(n) && testKey(n) < layer.endKey).toBe(true);
          expect(layer.startLsn).toBeLessThan(lsn);
        }
        const oldest = search.lsns.at(-1);
        if (search.done && oldest !== undefined) expect(asked.at(-1)!.endLsn).toBeGreaterThanOrEqual(oldest);
      }),
    );
  });

  it('refuses delta runs that overlap', () => {
    const at = (startLsn: number, endLsn: number): TestLayer => layerOf('delta', { startKey: MIN_KEY, endKey: MAX_KEY, startLsn, endLsn }, []);
    expect(() => LayerMap.of([at(0, 10), at(5, 15)])).toThrow(RangeError);
    expect(() => LayerMap.of([at(0, 10), at(0, 10)])).toThrow(RangeError);
    expect(LayerMap.of([at(0, 10), at(10, 15)]).runs).toHaveLength(2);
  });
});
