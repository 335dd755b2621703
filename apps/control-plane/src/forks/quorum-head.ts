/**
 * Where a timeline's committed WAL ends, from the safekeepers alone, for when no compute runs that knows. Pure.
 *
 * Everything acknowledged is flushed on a majority. When all answer and a majority shares the highest last term, the
 * majority-th largest flush position among those is an end that every later election keeps, and nothing acknowledged lies
 * behind it. With fewer answers, or a leader that reached only a minority, just an election can tell.
 */
import type { SafekeeperTimelineStatus } from '@coppice/contracts';
import { type Lsn, maxLsn } from '@coppice/vocabulary';

export interface QuorumHead {
  readonly lsn: Lsn;
  /**
   * A safekeeper was told that it is committed, so that pageservers get to see WAL up to here. A leader that died between its
   * quorum and telling of it leaves that to the next one.
   */
  readonly isAnnounced: boolean;
}

/** `undefined` in `statuses`: that safekeeper did not answer. `startLsn`: where the timeline's own WAL begins. */
export function quorumHead(
  statuses: readonly (SafekeeperTimelineStatus | 'no-wal' | undefined)[],
  startLsn: Lsn,
): QuorumHead | undefined {
  const majority = Math.floor(statuses.length / 2) + 1;
  if (statuses.some((s) => s === undefined)) return undefined;
  const logs = statuses.filter((s): s is SafekeeperTimelineStatus => s !== undefined && s !== 'no-wal');
  if (logs.length === 0) return { lsn: startLsn, isAnnounced: true };
  const lastTerm = (s: SafekeeperTimelineStatus): number => s.termHistory.at(-1)?.term ?? 0;
  const highest = Math.max(...logs.map(lastTerm));
  const leaders = logs.filter((s) => lastTerm(s) === highest).map((s) => s.flushLsn);
  if (leaders.length < majority) return undefined;
  leaders.sort((a, b) => (a < b ? 1 : a > b ? -1 : 0));
  const head = maxLsn(leaders[majority - 1]!, startLsn);
  return { lsn: head, isAnnounced: head === startLsn || logs.some((s) => s.commitLsn >= head) };
}
