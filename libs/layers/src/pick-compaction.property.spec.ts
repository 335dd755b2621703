import fc from 'fast-check';
import type { Generation } from '@coppice/vocabulary';
import { MAX_KEY, MIN_KEY } from './key-range';
import type { Layer } from './layer';
import { LayerMap } from './layer-map';
import { deltaDepth, pickCompaction } from './pick-compaction';

function run(startLsn: number, endLsn: number, bytes: number): Layer {
  return { kind: 'delta', startKey: MIN_KEY, endKey: MAX_KEY, startLsn, endLsn, bytes, generation: 1 as Generation };
}

/** Flushes layers of these sizes, compacting whenever there is something to do; counts the bytes that merges wrote. */
function live(sizes: readonly number[]): { map: LayerMap; rewritten: number; deepest: number } {
  let map = LayerMap.of<Layer>([]);
  let lsn = 100;
  let rewritten = 0;
  let deepest = 0;
  for (const bytes of sizes) {
    map = map.with({ added: [run(lsn, lsn + 100, bytes)] });
    lsn += 100;
    for (let picked = pickCompaction(map, lsn); picked !== undefined; picked = pickCompaction(map, lsn)) {
      const merged = run(Math.min(...picked.map((r) => r.startLsn)), Math.max(...picked.map((r) => r.endLsn)), picked.reduce((sum, r) => sum + r.bytes, 0));
      map = map.with({ added: [merged], removed: picked.flatMap((r) => r.layers) });
      rewritten += merged.bytes;
    }
    deepest = Math.max(deepest, deltaDepth(map));
  }
  return { map, rewritten, deepest };
}

describe('choice of compaction', () => {
  it('keeps the depth of reads and the bytes rewritten logarithmic in the history', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 64_000_000 }), { minLength: 1, maxLength: 600 }), (sizes) => {
        const total = sizes.reduce((sum, n) => sum + n, 0);
        const { deepest, rewritten, map } = live(sizes);
        expect(deepest).toBeLessThanOrEqual(8 + Math.ceil(Math.log2(total)));
        expect(rewritten).toBeLessThanOrEqual(total * (2 + Math.ceil(Math.log2(sizes.length + 1))));
        expect(map.runs.reduce((sum, r) => sum + r.bytes, 0)).toBe(total);
      }),
      { numRuns: 60 },
    );
  });

  it('of equal flushes leaves few runs', () => {
    const { deepest } = live(Array.from({ length: 1000 }, () => 1_000_000));
    expect(deepest).toBeLessThanOrEqual(10);
  });

  it('leaves alone what reaches beyond the durable position', () => {
    const layers = Array.from({ length: 6 }, (_, i) => run(i * 10, (i + 1) * 10, 5));
    const picked = pickCompaction(LayerMap.of(layers), 45)!;
    expect(picked.every((r) => r.endLsn <= 45)).toBe(true);
    expect(pickCompaction(LayerMap.of(layers), 30)).toBeUndefined();
  });
});
