import * as scaling from '@coppice/scaling';
import { FULL } from '../../full';
import { type Edit, loadMutant } from '../mutant';
import { runSeed, type ScalingCode, type SeedReport } from './run-seed';

const SEEDS = FULL ? 2_000 : 150;
const MUTANT_SEEDS = 1_000;

it(`computes grow within two seconds, shrink late, stay within bounds and do not flap (${SEEDS} seeds)`, () => {
  const reports: SeedReport[] = [];
  for (let seed = 1; seed <= SEEDS; seed++) reports.push(runSeed(seed, scaling));
  // The loads are worth it: there was much to do in both directions.
  expect(reports.reduce((sum, r) => sum + r.ups, 0)).toBeGreaterThan(SEEDS);
  expect(reports.reduce((sum, r) => sum + r.downs, 0)).toBeGreaterThan(SEEDS / 3);
  expect(Math.max(...reports.map((r) => r.slowestReactionMs))).toBeLessThanOrEqual(2_000);
});

const MUTANTS: Record<string, readonly Edit[]> = {
  'sizes are left at the fill at which they are entered': [
    { file: 'decide', find: 'const COMFORTABLE = 0.7;', replace: 'const COMFORTABLE = 1;' },
  ],
  'less is given at once': [
    { file: 'decide', find: 'if (nowMs - calm.sinceMs < downAfterMs)', replace: 'if (false)' },
  ],
  'what was needed meanwhile is forgotten': [
    { file: 'decide', find: 'units: Math.max(enough, before.calm?.units ?? 0)', replace: 'units: enough' },
  ],
  'the wait is not begun anew by load': [
    {
      file: 'decide',
      find: 'if (calm.units >= units) return { units, cacheFloor };',
      replace: 'if (calm.units >= units) return { units, cacheFloor, calm: { ...calm, units: 0 } };',
    },
  ],
  'a full compute gets one step': [
    { file: 'decide', find: 'Math.max(needed, 2 * units)', replace: 'units + 0.01' },
  ],
  'a full compute gets what it uses': [
    { file: 'decide', find: 'Math.max(needed, 2 * units)', replace: 'load.cpus' },
  ],
  'bounds hold for what is decided next only': [
    {
      file: 'decide',
      find: 'const units = Math.min(bounds.max, Math.max(bounds.min, before.units));',
      replace: 'const units = before.units;',
    },
  ],
  'what did not fit the page cache is tried again': [
    { file: 'decide', find: 'const CACHE_FLOOR_MS = 600_000;', replace: 'const CACHE_FLOOR_MS = 0;' },
  ],
  'memory does not count': [
    { file: 'decide', find: 'load.heldBytes / BYTES_PER_UNIT) / COMFORTABLE', replace: '0) / COMFORTABLE' },
    { file: 'decide', find: 'load.heldBytes >= FULL * units * BYTES_PER_UNIT', replace: 'false' },
  ],
  'it never goes all the way down': [
    { file: 'sizes', find: 'if (wanted <= 0.25) return 0.25;', replace: '' },
  ],
};

it.each(Object.entries(MUTANTS))('the simulation notices when %s', (_, edits) => {
  const code = loadMutant<ScalingCode>('libs/scaling/src', edits);
  for (let seed = 1; seed <= MUTANT_SEEDS; seed++) {
    try {
      runSeed(seed, code);
    } catch (error) {
      expect((error as Error).message).toMatch(/^seed \d+, /);
      return;
    }
  }
  throw new Error(`no seed up to ${MUTANT_SEEDS} notices`);
});
