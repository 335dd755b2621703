import { lsn } from '@coppice/vocabulary';
import { routeOf } from './route';
import { openingOf } from './when';

describe('a connection opens its branch', () => {
  it('as it is now, unless it says otherwise', () => {
    expect(openingOf(['-c', 'work_mem=1MB'])).toEqual({ when: undefined, readOnly: false });
    expect(openingOf(['neon_endpoint_type:read_write'])).toEqual({ when: undefined, readOnly: false });
    expect(openingOf(['neon_endpoint_type:read_only'])).toEqual({ when: undefined, readOnly: true });
  });
  it('at a position or a time, to read only', () => {
    expect(openingOf(['neon_lsn:0/16B3748'])).toEqual({ when: { lsn: lsn(0x16b3748n) }, readOnly: true });
    const when = { timestampUnixMicros: Date.UTC(2026, 0, 1, 12) * 1000 + 250 };
    expect(openingOf(['neon_timestamp:2026-01-01T12:00:00.00025Z']).when).toEqual(when);
    expect(
      openingOf(['neon_timestamp:2026-01-01\\ 13:00:00.00025+01:00', 'neon_endpoint_type:read_only']).when,
    ).toEqual(when);
  });
  it('is refused with what to write instead', () => {
    for (const words of [
      ['neon_lsn:12'],
      ['neon_lsn:0/0'],
      ['neon_lsn:'],
      ['neon_timestamp:yesterday'],
      ['neon_timestamp:2026-01-01T12:00:00'],
      ['neon_timestamp:1969-01-01T12:00:00Z'],
      ['neon_lsn:0/1', 'neon_timestamp:2026-01-01T12:00:00Z'],
      ['neon_lsn:0/1', 'neon_lsn:0/2'],
      ['neon_lsn:0/1', 'neon_endpoint_type:read_write'],
      ['neon_endpoint_type:write_only'],
    ]) {
      let refused: unknown;
      try {
        openingOf(words);
      } catch (error) {
        refused = error;
      }
      expect(refused).toMatchObject({
        kind: 'Invalid',
        code: 'bad-connection-option',
        remedy: expect.any(String),
      });
    }
  });
  it('by words that Postgres does not get', () => {
    const route = routeOf(
      'ep-a-b-c.db.example',
      '-c work_mem=1MB neon_timestamp:2026-01-01\\ 12:00:00Z -c x=a\\ b',
    );
    expect(route).toMatchObject({
      endpoint: 'ep-a-b-c',
      options: '-c work_mem=1MB -c x=a\\ b',
      readOnly: true,
    });
    expect(route.when).toEqual({ timestampUnixMicros: Date.UTC(2026, 0, 1, 12) * 1000 });
  });
});
