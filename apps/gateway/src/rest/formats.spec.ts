import { CoppiceError } from '@coppice/service-kit';
import { parseTimestamp } from '@coppice/vocabulary';
import { forkLsn, forkMicros, timestamp } from './formats';

describe('times', () => {
  it('are read to the microsecond, in any zone', () => {
    expect(parseTimestamp('2026-01-31T12:00:00Z')).toBe(Date.UTC(2026, 0, 31, 12) * 1000);
    expect(parseTimestamp('2026-01-31T12:00:00.123456789+02:00')).toBe(
      Date.UTC(2026, 0, 31, 10) * 1000 + 123_456,
    );
  });
  it('are refused when they do not exist or lack a zone', () => {
    for (const bad of [
      '',
      'now',
      '2026-01-31',
      '2026-01-31T12:00:00',
      '2026-02-30T00:00:00Z',
      '2026-01-01T25:00:00Z',
      '2026-01-01T00:00:00+99:00',
      '2026-13-01T00:00:00Z',
    ]) {
      expect([bad, parseTimestamp(bad)]).toEqual([bad, undefined]);
    }
  });
  it('of 0 are shown as absent', () => {
    expect([timestamp(0), timestamp(1)]).toEqual([undefined, '1970-01-01T00:00:00.001Z']);
  });
});

describe('fork points', () => {
  it('that the contract takes for "none" are refused instead', () => {
    expect([forkLsn(undefined), forkMicros(undefined)]).toEqual([undefined, 0]);
    expect(() => forkLsn('0/0')).toThrow(CoppiceError);
    expect(() => forkMicros('1970-01-01T00:00:00Z')).toThrow(CoppiceError);
    expect(() => forkMicros('9999-12-31T00:00:00Z')).toThrow(
      expect.objectContaining({ code: 'timestamp-in-future' }),
    );
  });
});
