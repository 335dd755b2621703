import { activeTime, type ActiveTimeSample, noActiveTime } from './active-time';

const QUIET: ActiveTimeSample = { sessionMs: 0, openMs: 0, ownMs: 0 };

/** Looks every 5 s from the start on. */
function after(...samples: readonly Partial<ActiveTimeSample>[]): number {
  return samples.reduce(
    (time, sample, i) => activeTime(time, { ...QUIET, ...sample }, 5_000 * (i + 1)),
    noActiveTime(0),
  ).totalMs;
}

describe('active time', () => {
  it('is none while nobody does anything', () => {
    expect(after({}, {}, {})).toBe(0);
  });
  it('is that of finished queries', () => {
    expect(after({ sessionMs: 120 }, { sessionMs: 120 }, { sessionMs: 150 })).toBe(150);
  });
  it('of an open transaction counts while it is open, and not again when it ends', () => {
    expect(after({ openMs: 2_000 }, { openMs: 5_000 }, { openMs: 5_000 })).toBe(12_000);
    expect(after({ openMs: 2_000 }, { openMs: 5_000 }, { sessionMs: 8_000 })).toBe(8_000);
  });
  it('of an open transaction is not counted again when the statistics come late', () => {
    expect(after({ openMs: 2_000 }, {}, { sessionMs: 2_100 })).toBe(2_100);
  });
  it('of many sessions at once is at most the time that went by', () => {
    expect(after({ sessionMs: 40_000, openMs: 9_000 })).toBe(5_000);
  });
  it('leaves out what the agent itself did', () => {
    expect(after({ sessionMs: 30, ownMs: 20 }, { sessionMs: 35, ownMs: 8 })).toBe(10);
  });
  it('never goes back, nor on by a clock that does', () => {
    const time = activeTime(noActiveTime(0), { ...QUIET, sessionMs: 100 }, 5_000);
    expect(activeTime(time, { ...QUIET, sessionMs: 50 }, 4_000).totalMs).toBe(100);
  });
});
