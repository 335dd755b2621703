import { type Edit, FULL, loadMutant } from '@coppice/testing';
import { type LineReport, runLine, type StartOrderCode } from '../testing/start-line';
import * as code from './start-order';

const SEEDS = FULL ? 3_000 : 300;
const MUTANT_SEEDS = 2_000;

it(`starts get their turns fairly, where there is room, and all of them in the end (${SEEDS} seeds)`, () => {
  const total: LineReport = { begun: 0, failed: 0, stuck: 0, passed: 0, yielded: 0, tooLarge: 0 };
  for (let seed = 1; seed <= SEEDS; seed++) {
    const report = runLine(seed, code);
    for (const key of Object.keys(total) as (keyof LineReport)[]) total[key] += report[key];
  }
  // The fleets are short of everything: all that can happen does.
  expect(total.begun).toBeGreaterThan(20 * SEEDS);
  for (const happened of Object.keys(total) as (keyof LineReport)[])
    expect({ happened, often: total[happened] > SEEDS / 20 }).toEqual({ happened, often: true });
});

const edit = (find: string, replace: string): Edit => ({ file: 'start-order', find, replace });
const MUTANTS: Record<string, Edit> = {
  'those with fewer under way do not go first': edit('x.underWay - y.underWay || ', ''),
  'nobody remembers whose turn it was': edit('x.lastTurn - y.lastTurn || ', ''),
  'the last that came of an agent is its first': edit('s.order < head.order', 's.order > head.order'),
  'a start is tried again where it failed': edit('(others.length > 0 ? others : places)', 'places'),
  'starts under way do not count': edit('.filter((p) => p.freeStarts > 0)', ''),
  'the number of computes does not count': edit('p.freeComputes > 0 && ', ''),
  'memory does not count': edit('p.freeBytes >= start.bytes && ', ''),
  'no room is kept': edit('if (start.stuckMs < KEPT_MS) kept', 'if (false) kept'),
  'room is kept for ever': edit('if (start.stuckMs < KEPT_MS) kept', 'kept'),
  'what no node has room for waits': edit('places.length > 0 && places.every', 'false && places.every'),
  'what the roomiest node has not free is too large': edit(
    'p.allBytes < start.bytes',
    'p.freeBytes < start.bytes',
  ),
  'the newcomer never gives way': edit('if (counts.get(newcomer.agentId) === most) return undefined;', ''),
  'the first of a storm gives way': edit('s.order > last.order', 's.order < last.order'),
};

it.each(Object.entries(MUTANTS))('the simulation notices when %s', (_, mutation) => {
  const mutant = loadMutant<StartOrderCode>('apps/control-plane/src/computes', [mutation], 'start-order');
  for (let seed = 1; seed <= MUTANT_SEEDS; seed++) {
    try {
      runLine(seed, mutant);
    } catch (error) {
      expect((error as Error).message).toMatch(/^seed \d+, at /);
      return;
    }
  }
  throw new Error(`no seed up to ${MUTANT_SEEDS} notices`);
});
