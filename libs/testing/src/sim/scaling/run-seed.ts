/**
 * One compute under one drawn load, scaled by the policy as the agent does it: looks that come late now and then, more seldom
 * while nothing happens, bounds that are changed while it runs. Throws when the policy does what it must not:
 *
 *   1  a size outside the bounds
 *   2  no larger size after two seconds in which more was wanted than there is
 *   3  after six seconds of wanting it, still less than wanted
 *   4  less than was wanted within the time that is waited before going down, or going down within that time
 *   5  under load that does not change, more than three changes in ten minutes
 *   6  not back at the smallest size when nothing was wanted for twice that time
 */
import type * as scaling from '@coppice/scaling';
import { SeededRandom } from '../random';
import { PERIOD_MS, SimCompute } from './sim-compute';
import { drawTrace } from './traces';

export type ScalingCode = typeof scaling;

const DOWN_AFTER_MS = 30_000;
const LOOK_MS = 500;
const QUIET_LOOK_MS = 1_000;
const REACTS_WITHIN_MS = 2_000;
const ARRIVES_WITHIN_MS = 6_000;
const BOUNDS = [0.25, 0.5, 0.75, 1, 2, 3, 4, 8, 16];

export interface SeedReport {
  readonly ups: number;
  readonly downs: number;
  readonly slowestReactionMs: number;
}

export function runSeed(seed: number, code: ScalingCode): SeedReport {
  const random = new SeededRandom(seed);
  const trace = drawTrace(random);
  const compute = new SimCompute();
  const check = (holds: boolean, what: () => string): void => {
    if (!holds) throw new Error(`seed ${seed}, ${trace.kind}, at ${compute.counters.atMs} ms: ${what()}`);
  };
  const drawBounds = (): scaling.SizeBounds => {
    const [a, b] = [random.pick(BOUNDS), random.pick(BOUNDS)];
    return code.boundsOnNode({ min: Math.min(a, b), max: Math.max(a, b) }, random.pick([2, 8, 64]));
  };
  let bounds = drawBounds();
  const patchedAt = random.chance(0.3) ? random.between(0, trace.loadedMs) : undefined;
  let scalingNow: scaling.Scaling = { units: bounds.min };
  let looked = compute.counters;
  let nextLook = LOOK_MS;
  let [ups, downs, slowest] = [0, 0, 0];
  let [shortSince, lacksSince] = [0, 0];
  let calmSince = 0;
  const changes: number[] = [];
  /** What was wanted, by look, as far back as a way down is waited for. */
  const recent: { readonly atMs: number; readonly wanted: number }[] = [];
  let wantedSinceLook: number[] = [];

  while (compute.counters.atMs < trace.endMs) {
    const wants = trace.at(compute.counters.atMs);
    compute.run(scalingNow.units, wants);
    const { atMs } = compute.counters;
    const wanted = Math.max(wants.cpus, wants.heldBytes / code.BYTES_PER_UNIT);
    wantedSinceLook.push(wanted);
    if (wanted <= scalingNow.units * 1.02 || scalingNow.units >= bounds.max) shortSince = atMs;
    if (wanted <= scalingNow.units || scalingNow.units >= bounds.max) lacksSince = atMs;
    if (wants.cpus > 0 || scalingNow.cacheFloor) calmSince = atMs;
    check(atMs - shortSince <= REACTS_WITHIN_MS, () => `wants ${wanted} and still has ${scalingNow.units}`);
    check(atMs - lacksSince <= ARRIVES_WITHIN_MS, () => `wants ${wanted} and only has ${scalingNow.units}`);
    const isPatched = patchedAt !== undefined && Math.abs(atMs - patchedAt) < PERIOD_MS / 2;
    if (isPatched) bounds = drawBounds();
    if (atMs < nextLook && !isPatched) continue;

    const load = code.loadBetween(looked, compute.counters);
    const before = scalingNow;
    scalingNow = code.decide(before, load, { bounds, downAfterMs: DOWN_AFTER_MS }, atMs);
    looked = compute.counters;
    nextLook = atMs + (load.cpus < 0.01 ? QUIET_LOOK_MS : LOOK_MS) + random.between(0, 1) * PERIOD_MS;
    const { units } = scalingNow;
    check(
      units >= bounds.min && units <= bounds.max,
      () => `has ${units} between ${bounds.min} and ${bounds.max}`,
    );
    const mean = wantedSinceLook.reduce((sum, units) => sum + units, 0) / wantedSinceLook.length;
    recent.push({ atMs, wanted: mean });
    while (recent[0]!.atMs <= atMs - DOWN_AFTER_MS + QUIET_LOOK_MS) recent.shift();
    wantedSinceLook = [];
    if (units > before.units) {
      ups += 1;
      slowest = Math.max(slowest, atMs - shortSince);
    }
    if (units < before.units && !isPatched) {
      downs += 1;
      const most = Math.max(...recent.map((r) => r.wanted));
      check(most <= units, () => `goes down to ${units} although ${most} was wanted`);
      const sinceChange = atMs - (changes.at(-1) ?? 0);
      check(sinceChange >= DOWN_AFTER_MS - QUIET_LOOK_MS, () => `goes down ${sinceChange} ms after a change`);
    }
    if (units !== before.units) {
      changes.push(atMs);
      shortSince = atMs;
    }
    const settled = changes.filter((ms) => ms > 200_000 && ms > atMs - 600_000).length;
    if (trace.kind === 'steady' && patchedAt === undefined && atMs < trace.loadedMs)
      check(settled <= 3, () => `changes ${settled} times under a steady load`);
    const isOver = atMs - Math.max(calmSince, patchedAt ?? 0) > 2 * DOWN_AFTER_MS + 3 * QUIET_LOOK_MS;
    if (isOver) check(units === bounds.min, () => `idles at ${units}, not ${bounds.min}`);
  }
  return { ups, downs, slowestReactionMs: slowest };
}
