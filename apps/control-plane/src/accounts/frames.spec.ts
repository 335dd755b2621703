import { spanOf } from './frames';

const ms = (text: string): number => Date.parse(text);
const NOW = ms('2026-03-15T12:34:56Z');
const span = (from: string, to: string, granularity: string) => {
  const s = spanOf({ fromUnixMs: ms(from), toUnixMs: ms(to), granularity }, NOW);
  return [s.from.toISOString(), s.to.toISOString(), s.granularity];
};

describe('a span', () => {
  it('begins with a whole frame and ends now at the latest', () => {
    expect(span('2026-03-15T10:59:59Z', '2026-03-15T11:30:00Z', 'hourly')).toEqual([
      '2026-03-15T10:00:00.000Z',
      '2026-03-15T11:30:00.000Z',
      'hour',
    ]);
    expect(span('2026-03-10T10:59:59Z', '2030-01-01T00:00:00Z', 'daily')[0]).toBe('2026-03-10T00:00:00.000Z');
    expect(span('2026-02-10T10:59:59Z', '2030-01-01T00:00:00Z', 'monthly')).toEqual([
      '2026-02-01T00:00:00.000Z',
      new Date(NOW).toISOString(),
      'month',
    ]);
  });

  it('that is empty, too long or of an unknown granularity is refused', () => {
    const refusal = (...asked: [string, string, string]) => {
      try {
        return span(...asked);
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect(refusal('2026-03-15T12:00:00Z', '2026-03-15T12:00:00Z', 'hourly')).toBe('bad-span');
    expect(refusal('2026-03-16T12:00:00Z', '2026-03-17T12:00:00Z', 'hourly')).toBe('bad-span');
    expect(refusal('2026-03-01T12:00:00Z', '2026-03-15T12:00:00Z', 'hourly')).toBe('span-too-long');
    expect(refusal('2026-03-01T12:00:00Z', '2026-03-15T12:00:00Z', 'weekly')).toBe('bad-granularity');
  });
});
