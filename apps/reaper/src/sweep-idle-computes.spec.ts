import { type Clock, silentLog } from '@coppice/service-kit';
import { allow, type AllowanceLimits, firstState } from './sweep-allowance';
import { SweepIdleComputes } from './sweep-idle-computes';

const limits: AllowanceLimits = {
  perSweep: 10,
  perMinute: 60,
  brakePercent: 50,
  brakeFloor: 20,
  brakeHoldMs: 1000,
};
const seen = (due: number, running: number, nowMs = 0) => ({ due, running, nowMs });

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

  it('asks for no more than it may take, and for nothing in a dry run', async () => {
    const asked: { limit: number; dryRun: boolean }[] = [];
    const compute = { computeId: 'c', endpointId: 'e', idleMs: 1, suspended: true, failure: '' };
    const control = {
      suspendIdle: async (request: { limit: number; dryRun: boolean }) => {
        asked.push(request);
        return {
          computes: Array.from({ length: request.dryRun ? 15 : request.limit }, () => compute),
          running: 100,
        };
      },
    };
    const clock: Clock = { now: () => 0, monotonic: () => 0, sleep: async () => undefined };
    const options = { control: control as never, limits, clock, log: silentLog() };
    const signal = new AbortController().signal;
    expect(await new SweepIdleComputes({ ...options, dryRun: false }).sweep(signal)).toBe(10);
    expect(asked.map((a) => a.dryRun)).toEqual([true, false]);
    expect(asked[1]!.limit).toBe(10);
    asked.length = 0;
    expect(await new SweepIdleComputes({ ...options, dryRun: true }).sweep(signal)).toBe(0);
    expect(asked.map((a) => a.dryRun)).toEqual([true]);
  });
});
