/**
 * The position just after the last commit at or before a time.
 *
 * Commit times are keys, so the newest one not after the time is found by halving. Backends take the time before they
 * write the commit record, so neighbours may stand in the log the other way round: among the commits of the second before
 * it, the one furthest along in the log counts.
 */
import { decodeCommitPosition, pgMicrosFromUnixMicros, unixMicrosFromPgMicros } from '@coppice/postgres';
import { CoppiceError } from '@coppice/service-kit';
import { KeyKind, commitTimeKey, pageKeyFields } from '@coppice/vocabulary';
import type { LsnNumber, PageKey } from '@coppice/vocabulary';
import { kindRange } from '../ingest/key-ranges';
import type { TimelineView } from '../ingest/ingest-target';

/** How far commits may be out of order in the log. */
const DISORDER_MICROS = 1_000_000n;

export interface CommitAt {
  readonly lsn: LsnNumber;
  readonly unixMicros: bigint;
}

/**
 * Searches the history that is seen at `lsn`. Times in microseconds since 1970. Throws `NotFound` before the first commit
 * and `Invalid` after `nowUnixMicros`.
 */
export async function lsnAtTime(
  view: TimelineView,
  at: { readonly lsn: LsnNumber; readonly unixMicros: bigint; readonly nowUnixMicros: bigint },
): Promise<CommitAt> {
  if (at.unixMicros > at.nowUnixMicros) {
    throw new CoppiceError('Invalid', 'time-in-future', `${textOf(at.unixMicros)} is in the future`, {
      remedy: `Ask for a time up to now, ${textOf(at.nowUnixMicros)}.`,
    });
  }
  const [from, to] = kindRange(KeyKind.commitTime);
  const earliest = await firstCommit(view, from, to, at.lsn);
  const wanted = pgMicrosFromUnixMicros(at.unixMicros);
  if (earliest === undefined || earliest > wanted) throw tooEarly(at.unixMicros, earliest);
  const newest = await newestCommit(view, earliest, wanted, at.lsn);
  return furthestCommit(view, newest, at.lsn);
}

/** The newest commit time in `[known, until]`, where `known` is one. */
async function newestCommit(
  view: TimelineView,
  known: bigint,
  until: bigint,
  lsn: LsnNumber,
): Promise<bigint> {
  let found = known;
  let limit = until;
  while (found < limit) {
    const middle = (found + limit + 1n) / 2n;
    const later = await firstCommit(view, commitTimeKey(middle), commitTimeKey(limit + 1n), lsn);
    if (later === undefined) limit = middle - 1n;
    else found = later;
  }
  return found;
}

async function firstCommit(
  view: TimelineView,
  from: PageKey,
  to: PageKey,
  lsn: LsnNumber,
): Promise<bigint | undefined> {
  for await (const [key] of view.scan(from, to, lsn)) return timeOf(key);
  return undefined;
}

async function furthestCommit(view: TimelineView, newest: bigint, lsn: LsnNumber): Promise<CommitAt> {
  const since = newest > DISORDER_MICROS ? newest - DISORDER_MICROS : 0n;
  let furthest: CommitAt = { lsn: 0, unixMicros: 0n };
  for await (const [key, bytes] of view.scan(commitTimeKey(since), commitTimeKey(newest + 1n), lsn)) {
    const position = decodeCommitPosition(bytes);
    if (position > furthest.lsn)
      furthest = { lsn: position, unixMicros: unixMicrosFromPgMicros(timeOf(key)) };
  }
  return furthest;
}

function timeOf(key: PageKey): bigint {
  const { relation, block } = pageKeyFields(key);
  return (BigInt(relation) << 32n) | BigInt(block);
}

function tooEarly(unixMicros: bigint, earliest: bigint | undefined): CoppiceError {
  if (earliest === undefined) {
    return new CoppiceError('NotFound', 'no-commit-yet', 'nothing was committed on this branch yet', {
      remedy: 'Branch from its head instead of a time.',
    });
  }
  const first = textOf(unixMicrosFromPgMicros(earliest));
  return new CoppiceError(
    'NotFound',
    'before-first-commit',
    `${textOf(unixMicros)} is before the first commit, ${first}`,
    {
      remedy: `Ask for ${first} or later.`,
    },
  );
}

/** ISO 8601 with microseconds; a time that no calendar holds as its number. */
function textOf(unixMicros: bigint): string {
  const millis = Number(unixMicros / 1000n);
  if (Math.abs(millis) > 8.64e15 || unixMicros < 0n) return `${unixMicros} µs since 1970`;
  return new Date(millis).toISOString().replace('Z', `${String(unixMicros % 1000n).padStart(3, '0')}Z`);
}
