import fc from 'fast-check';
import { decide, type Scaling } from './decide';
import type { Load } from './load';
import { boundsOnNode, BYTES_PER_UNIT, sizeFor } from './sizes';

const units = fc.constantFrom(0.25, 0.5, 0.75, 1, 1.25, 2, 3, 4, 7, 16);
const bounds = fc.tuple(units, units).map(([a, b]) => ({ min: Math.min(a, b), max: Math.max(a, b) }));
const load: fc.Arbitrary<Load> = fc.record({
  cpus: fc.double({ min: 0, max: 32, noNaN: true }),
  throttledShare: fc.double({ min: 0, max: 1, noNaN: true }),
  heldBytes: fc.double({ min: 0, max: 20 * BYTES_PER_UNIT, noNaN: true }),
  refaultedBytesPerSecond: fc.constantFrom(0, 1e9),
});
const looks = fc.array(fc.record({ load, afterMs: fc.integer({ min: 1, max: 60_000 }) }), { maxLength: 40 });
const DOWN_AFTER_MS = 30_000;

const run = (
  start: Scaling,
  rules: { min: number; max: number },
  all: readonly { load: Load; afterMs: number }[],
) => {
  const states = [start];
  let nowMs = 0;
  for (const { load, afterMs } of all) {
    nowMs += afterMs;
    states.push(decide(states.at(-1)!, load, { bounds: rules, downAfterMs: DOWN_AFTER_MS }, nowMs));
  }
  return states;
};

it('is within the bounds, whatever it was and whatever the load', () => {
  fc.assert(
    fc.property(bounds, units, looks, (rules, start, all) => {
      for (const { units: size } of run({ units: start }, rules, all).slice(1)) {
        expect(size).toBeGreaterThanOrEqual(rules.min);
        expect(size).toBeLessThanOrEqual(rules.max);
      }
    }),
  );
});

it('a fuller compute never gets less than an emptier one', () => {
  fc.assert(
    fc.property(
      bounds,
      units,
      load,
      fc.double({ min: 0, max: 8, noNaN: true }),
      (rules, start, less, extra) => {
        const decided = (l: Load) => decide({ units: start }, l, { bounds: rules, downAfterMs: 0 }, 1).units;
        expect(decided({ ...less, cpus: less.cpus + extra })).toBeGreaterThanOrEqual(decided(less));
      },
    ),
  );
});

it('goes up at once when it is full, to twice the size or the most there is', () => {
  fc.assert(
    fc.property(bounds, units, load, (rules, start, other) => {
      const size = Math.min(rules.max, Math.max(rules.min, start));
      const after = decide(
        { units: start },
        { ...other, cpus: size },
        { bounds: rules, downAfterMs: DOWN_AFTER_MS },
        1,
      );
      expect(after.units).toBeGreaterThanOrEqual(Math.min(rules.max, 2 * size));
    }),
  );
});

it('decides the same again: what it goes down to under a load does not make it go up under that load', () => {
  fc.assert(
    fc.property(bounds, units, load, (rules, start, { cpus, heldBytes }) => {
      const same: Load = { cpus, heldBytes, throttledShare: 0, refaultedBytesPerSecond: 0 };
      const sizes = run(
        { units: start },
        rules,
        Array<{ load: Load; afterMs: number }>(30).fill({ load: same, afterMs: 20_000 }),
      ).map((s) => s.units);
      expect(new Set(sizes.slice(-5)).size).toBe(1);
    }),
  );
});

it('a size is one of a few, and the smallest that is enough', () => {
  fc.assert(
    fc.property(bounds, fc.double({ min: 0, max: 20, noNaN: true }), (rules, wanted) => {
      const size = sizeFor(wanted, rules);
      expect([0.25, 0.5, rules.min, rules.max].includes(size) || Number.isInteger(size)).toBe(true);
      expect(size >= wanted || size === rules.max).toBe(true);
    }),
  );
});

it('a node gives no more than it has', () => {
  expect(boundsOnNode({ min: 0.25, max: 8 }, 2)).toEqual({ min: 0.25, max: 2 });
  expect(boundsOnNode({ min: 4, max: 8 }, 2)).toEqual({ min: 2, max: 2 });
  expect(boundsOnNode({ min: 0.25, max: 1 }, 64)).toEqual({ min: 0.25, max: 1 });
});
