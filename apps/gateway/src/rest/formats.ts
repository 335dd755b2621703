/** Text forms of the REST surface: RFC 3339 times, `16/B374D848` positions. */
import { formatLsn, type Lsn, parseLsn, parseTimestamp } from '@coppice/vocabulary';
import { CoppiceError } from '@coppice/service-kit';

const MAX_MILLIS = 8_640_000_000_000_000;

/** A time as clients read it; absent for 0, which stands for "never". */
export function timestamp(unixMs: number): string | undefined {
  return unixMs > 0 && unixMs <= MAX_MILLIS ? new Date(unixMs).toISOString() : undefined;
}

/** A time that is always there. */
export function time(unixMs: number): string {
  return new Date(unixMs).toISOString();
}

export function lsnText(value: Lsn | undefined): string | undefined {
  return value === undefined ? undefined : formatLsn(value);
}

/** A position where a branch can start. The contract's 0 means "none", so 0/0 is refused here. */
export function forkLsn(text: string | undefined): Lsn | undefined {
  const value = text === undefined ? undefined : parseLsn(text);
  if (value === 0n)
    throw new CoppiceError(
      'Invalid',
      'lsn-before-history',
      'LSN 0/0 lies before the history of every branch',
      { remedy: 'Use a later one.' },
    );
  return value;
}

/** Likewise for times, as microseconds; 0 when none is given. */
export function forkMicros(text: string | undefined): number {
  if (text === undefined) return 0;
  const micros = parseTimestamp(text) ?? 0;
  if (micros <= 0)
    throw new CoppiceError(
      'Invalid',
      'timestamp-before-history',
      `${text} lies before the history of every branch`,
      { remedy: 'Use a later time.' },
    );
  if (micros > Number.MAX_SAFE_INTEGER) {
    throw new CoppiceError('Invalid', 'timestamp-in-future', `${text} lies in the future`, {
      remedy: 'Use an earlier time.',
    });
  }
  return micros;
}

/** When something is to end, milliseconds; 0 when that is not said. */
export function expiryMs(text: string | undefined): number {
  return text === undefined ? 0 : Math.floor(forkMicros(text) / 1000);
}
