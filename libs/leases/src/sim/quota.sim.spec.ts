import { FULL } from '@coppice/testing';
import type { Flaws, SeedReport } from './run-seed';
import { runSeed } from './run-seed';

const SEEDS = FULL ? 3_000 : 300;
const MUTANT_SEEDS = 3_000;

it(`no limit is passed and counters come to equal the truth, whatever is lost or killed (${SEEDS} seeds)`, async () => {
  const total: SeedReport = {
    committed: 0,
    exceeded: 0,
    unavailable: 0,
    contended: 0,
    kills: 0,
    losses: 0,
    epochs: 0,
  };
  for (let seed = 1; seed <= SEEDS; seed++) {
    const report = await runSeed(seed);
    for (const key of Object.keys(total) as (keyof SeedReport)[]) total[key] += report[key];
  }
  // The storm is one: everything that can happen does, and work gets done all the same.
  expect(total.committed).toBeGreaterThan(5 * SEEDS);
  for (const happened of ['exceeded', 'unavailable', 'kills', 'losses', 'epochs'] as const)
    expect(total[happened]).toBeGreaterThan(SEEDS / 2);
  expect(total.contended).toBeLessThan(total.committed / 20);
});

const MUTANTS: Record<string, Flaws> = {
  'a recount does not raise the epoch': { postgres: 'no-epoch-bump' },
  'an insert does not check the epoch': { postgres: 'no-epoch-check' },
  'an insert does not lock the agent': { postgres: 'no-share-lock' },
  'the count is a transaction of its own': { postgres: 'count-in-another-transaction' },
  'a release does not look at the epoch': { store: 'release-ignores-epoch' },
  'an unanswered rebuild is sent again': { store: 'rebuild-is-repeated' },
};

it.each(Object.entries(MUTANTS))('the simulation notices when %s', async (_name, flaws) => {
  for (let seed = 1; seed <= MUTANT_SEEDS; seed++) {
    const objection = await runSeed(seed, flaws).then(
      () => undefined,
      (error: Error) => error.message,
    );
    if (objection === undefined) continue;
    expect(objection).toMatch(/exceeds the limits|do not cover|are not the truth/);
    return;
  }
  throw new Error(`no seed up to ${MUTANT_SEEDS} notices`);
});
