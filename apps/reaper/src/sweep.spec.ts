import { type Clock, silentLog } from '@coppice/service-kit';
import { allow, type AllowanceLimits, firstState } from './sweep-allowance';
import { Sweep, type Sweepable } from './sweep';

const limits: AllowanceLimits = {
  perSweep: 10,
  perMinute: 60,
  brakePercent: 50,
  brakeFloor: 20,
  brakeHoldMs: 1000,
};
const seen = (due: number, population: number, nowMs = 0) => ({ due, population, nowMs });

describe('a sweep', () => {
  it('takes what is due, up to its own limit', () => {
    expect(allow(limits, firstState(limits, 0), seen(3, 100)).take).toBe(3);
    expect(allow(limits, firstState(limits, 0), seen(40, 100)).take).toBe(10);
  });

  it('takes no more per minute than the rate limit', () => {
    let state = firstState(limits, 0);
    let taken = 0;
    for (let second = 0; second < 120; second++) {
      const next = allow(limits, state, seen(1000, 100_000, second * 1000));
      state = next.state;
      taken += next.take;
    }
    expect(taken).toBeLessThanOrEqual(60 + 120);
    expect(taken).toBeGreaterThanOrEqual(60 + 110);
  });

  it('holds still when too large a share is due, and goes on when that has lasted', () => {
    const first = allow(limits, firstState(limits, 0), seen(60, 100, 0));
    expect(first).toMatchObject({ take: 0, braked: true });
    expect(allow(limits, first.state, seen(60, 100, 999))).toMatchObject({ take: 0, braked: true });
    expect(allow(limits, first.state, seen(60, 100, 1000))).toMatchObject({ take: 10, braked: false });
  });

  it('counts the time anew when the share was normal in between', () => {
    const first = allow(limits, firstState(limits, 0), seen(60, 100, 0));
    const normal = allow(limits, first.state, seen(1, 100, 500));
    expect(allow(limits, normal.state, seen(60, 100, 1200)).braked).toBe(true);
  });

  it('never brakes for a few computes, be they all there are', () => {
    expect(allow(limits, firstState(limits, 0), seen(20, 20))).toMatchObject({ take: 10, braked: false });
  });

  it('never brakes where it is not known how much there is', () => {
    expect(allow(limits, firstState(limits, 0), seen(1000, 0))).toMatchObject({ take: 10, braked: false });
  });

  it('asks for no more than it may take, and for a list only in a dry run', async () => {
    const asked: { limit: number; dryRun: boolean }[] = [];
    const what: Sweepable = {
      kind: 'test',
      look: async () => ({ due: 15, population: 100 }),
      end: async (limit, dryRun) => {
        asked.push({ limit, dryRun });
        return Array.from({ length: limit }, (_, n) => ({
          id: String(n),
          why: 'old',
          done: !dryRun,
          failure: '',
        }));
      },
    };
    const clock: Clock = { now: () => 0, monotonic: () => 0, sleep: async () => undefined };
    const options = { what, limits, clock, log: silentLog() };
    const { signal } = new AbortController();
    expect(await new Sweep({ ...options, dryRun: false }).run(signal)).toBe(10);
    expect(await new Sweep({ ...options, dryRun: true }).run(signal)).toBe(0);
    expect(asked).toEqual([
      { limit: 10, dryRun: false },
      { limit: 10, dryRun: true },
    ]);
  });

  it('counts what failed apart from what was ended', async () => {
    const what: Sweepable = {
      kind: 'test',
      look: async () => ({ due: 2, population: 100 }),
      end: async () => [
        { id: 'a', why: 'old', done: true, failure: '' },
        { id: 'b', why: 'old', done: false, failure: 'busy' },
      ],
    };
    const clock: Clock = { now: () => 0, monotonic: () => 0, sleep: async () => undefined };
    const sweep = new Sweep({ what, limits, clock, log: silentLog(), dryRun: false });
    expect(await sweep.run(new AbortController().signal)).toBe(1);
  });
});
