import { decide, type Scaling } from './decide';
import { type Load, loadBetween, NO_LOAD, type UsageCounters } from './load';
import { BYTES_PER_UNIT } from './sizes';

const rules = { bounds: { min: 0.25, max: 8 }, downAfterMs: 30_000 };
const at = (units: number, load: Partial<Load>, nowMs = 0, before: Partial<Scaling> = {}) =>
  decide({ units, ...before }, { ...NO_LOAD, ...load }, rules, nowMs);

describe('a compute', () => {
  it('that is full gets twice the size at once', () => {
    expect(at(0.5, { cpus: 0.5 }).units).toBe(1);
    expect(at(2, { cpus: 1.8 }).units).toBe(4);
  });
  it('that used more than its size while nothing held it back gets what it needs', () => {
    expect(at(0.25, { cpus: 3 }).units).toBe(5);
  });
  it('between comfortable and full stays', () => {
    expect(at(1, { cpus: 0.8 })).toEqual({ units: 1 });
  });
  it('that works in bursts is full when it is held back in most of its periods', () => {
    expect(at(1, { cpus: 0.75, throttledShare: 0.6 }).units).toBe(2);
    expect(at(1, { cpus: 0.3, throttledShare: 0.6 }).units).toBe(1);
  });
  it('whose processes hold as much memory as it has gets more', () => {
    expect(at(0.25, { heldBytes: 0.24 * BYTES_PER_UNIT }).units).toBe(0.5);
    expect(
      at(4, { heldBytes: 1.3 * BYTES_PER_UNIT }, 30_000, { calm: { sinceMs: 0, units: 0.25 } }).units,
    ).toBe(2);
  });
  it('whose page cache does not fit gets more, and keeps it for ten minutes', () => {
    const { units, cacheFloor } = at(0.5, { refaultedBytesPerSecond: 1e8 }, 1_000);
    expect(units).toBe(1);
    const calm = { sinceMs: 0, units: 0.25 };
    expect(at(1, {}, 600_000, { cacheFloor, calm }).units).toBe(1);
    expect(at(1, {}, 601_000, { cacheFloor, calm }).units).toBe(0.25);
  });
  it('gets less when less has done for long enough, and then the most that was needed', () => {
    let scaling = at(4, { cpus: 0.1 }, 0);
    for (const [second, cpus] of [
      [10, 1],
      [20, 0.1],
      [29, 0],
    ] as const) {
      scaling = decide(scaling, { ...NO_LOAD, cpus }, rules, second * 1000);
      expect(scaling.units).toBe(4);
    }
    expect(decide(scaling, NO_LOAD, rules, 30_000).units).toBe(2);
  });
});

it('load is what has grown between two looks', () => {
  const counters: UsageCounters = {
    atMs: 1000,
    cpuSeconds: 5,
    periods: 10,
    throttledPeriods: 2,
    throttledSeconds: 1,
    heldBytes: 7,
    refaultedBytes: 100,
  };
  const later = {
    ...counters,
    atMs: 1500,
    cpuSeconds: 5.25,
    periods: 14,
    throttledPeriods: 5,
    heldBytes: 9,
    refaultedBytes: 150,
  };
  expect(loadBetween(counters, later)).toEqual({
    cpus: 0.5,
    throttledShare: 0.75,
    heldBytes: 9,
    refaultedBytesPerSecond: 100,
  });
  expect(loadBetween(later, { ...counters, atMs: 2000 })).toEqual({ ...NO_LOAD, heldBytes: 7 });
  expect(loadBetween(later, later)).toEqual({ ...NO_LOAD, heldBytes: 9 });
});
