/**
 * At which point of its history a branch is opened, and whether only to read. Words of the startup `options` as Neon's proxy takes
 * them, on any of the ways to name an endpoint:
 *
 *   neon_lsn:<position>          16/B374D848
 *   neon_timestamp:<time>        RFC 3339; a blank before the time of day is escaped as in any option: 2026-01-01\ 12:00:00Z
 *   neon_endpoint_type:<type>    read_only for a session that cannot write, read_write for one that can
 */
import { CoppiceError } from '@coppice/service-kit';
import { type Lsn, parseLsn, parseTimestamp } from '@coppice/vocabulary';

export interface When {
  readonly lsn?: Lsn;
  readonly timestampUnixMicros?: number;
}

export interface Opening {
  /** `undefined`: as it is now. */
  readonly when: When | undefined;
  readonly readOnly: boolean;
}

const OPTION = /^neon_(lsn|timestamp|endpoint_type):(.*)$/s;

/** Whether a word is one of these. */
export function saysWhen(word: string): boolean {
  return OPTION.test(word);
}

/** Throws `Invalid` on values that cannot be, and on words that contradict each other. */
export function openingOf(words: readonly string[]): Opening {
  const given = new Map<string, string>();
  for (const word of words) {
    const [, name, value] = OPTION.exec(word) ?? [];
    if (name === undefined) continue;
    const plain = value!.replace(/\\(.)/gs, '$1');
    if (given.has(name) && given.get(name) !== plain)
      throw invalid(`neon_${name} is given twice`, 'Give it once.');
    given.set(name, plain);
  }
  const [lsn, timestamp, type] = [given.get('lsn'), given.get('timestamp'), given.get('endpoint_type')];
  if (lsn !== undefined && timestamp !== undefined)
    throw invalid('both neon_lsn and neon_timestamp are given', 'Give one of them.');
  const when = lsn !== undefined ? atLsn(lsn) : timestamp !== undefined ? atTime(timestamp) : undefined;
  if (type !== undefined && type !== 'read_only' && type !== 'read_write')
    throw invalid(`neon_endpoint_type is ${shown(type)}`, 'Use read_only or read_write.');
  if (type === 'read_write' && when)
    throw invalid(
      'history cannot be written',
      'Leave neon_endpoint_type away, or make a branch at that point and write there.',
    );
  return { when, readOnly: when !== undefined || type === 'read_only' };
}

function atLsn(text: string): When {
  const lsn = parseLsn(text);
  if (lsn === undefined) throw invalid(`neon_lsn ${shown(text)} is not an LSN`, 'Write it like 16/B374D848.');
  // Nothing is 0 for the control-plane.
  if (lsn === 0n) throw invalid('LSN 0/0 lies before the history of every branch', 'Use a later one.');
  return { lsn };
}

function atTime(text: string): When {
  const micros = parseTimestamp(text);
  if (micros === undefined)
    throw invalid(
      `neon_timestamp ${shown(text)} is not a time with a zone`,
      'Write it like 2026-01-01T12:00:00Z.',
    );
  if (micros <= 0) throw invalid(`${text} lies before the history of every branch`, 'Use a later time.');
  // After the year 2255 a number is not exact; the control-plane says that it lies in the future.
  return { timestampUnixMicros: Math.min(micros, Number.MAX_SAFE_INTEGER) };
}

function shown(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}

function invalid(message: string, remedy: string): CoppiceError {
  return new CoppiceError('Invalid', 'bad-connection-option', message, { remedy });
}
