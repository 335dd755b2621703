import { lastActive, type ActivitySample } from './activity';

const QUIET: ActivitySample = { busySessions: 0, lastStateChangeMs: undefined, sessionsOpened: 3, preparedTransactions: 0, replicas: 0 };
const BEFORE = { activeMs: 1_000, sessionsOpened: 3 };

describe('activity', () => {
  it('is none when nobody is connected', () => {
    expect(lastActive(BEFORE, QUIET, 9_000)).toBe(1_000);
  });
  it('an idle session counts from when it last did something', () => {
    expect(lastActive(BEFORE, { ...QUIET, lastStateChangeMs: 4_000 }, 9_000)).toBe(4_000);
  });
  it.each([
    ['a running or open transaction', { busySessions: 1 }],
    ['a prepared transaction', { preparedTransactions: 1 }],
    ['a replica', { replicas: 1 }],
    ['a session that came and went since the last look', { sessionsOpened: 4 }],
  ])('%s counts as use now', (_, change) => {
    expect(lastActive(BEFORE, { ...QUIET, ...change }, 9_000)).toBe(9_000);
  });
  it('never goes back, nor into the future', () => {
    expect(lastActive({ activeMs: 5_000, sessionsOpened: 3 }, { ...QUIET, lastStateChangeMs: 2_000 }, 9_000)).toBe(5_000);
    expect(lastActive(BEFORE, { ...QUIET, lastStateChangeMs: 20_000 }, 9_000)).toBe(9_000);
  });
});
