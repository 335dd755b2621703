/**
 * Thousands of seeded storms. A failing seed is printed with its last events; replay it alone with
 * `COPPICE_SIM_SEED=<seed>`, run more with `COPPICE_SIM_SEEDS=<count>`.
 */
import { explainSeed, runSeed } from './run-seed';

const only = process.env['COPPICE_SIM_SEED'];
const count = Number(process.env['COPPICE_SIM_SEEDS'] ?? 2000);

describe('the WAL quorum', () => {
  it('keeps its promises in every storm and recovers after it', () => {
    const seeds = only === undefined ? Array.from({ length: count }, (_, i) => i + 1) : [Number(only)];
    let committed = 0;
    for (const seed of seeds) {
      try {
        committed += runSeed(seed).committedBytes;
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}\n${explainSeed(seed)}`, { cause: error });
      }
    }
    expect(committed / seeds.length).toBeGreaterThan(500);
  });
});
