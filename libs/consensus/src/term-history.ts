/**
 * Which term wrote which part of a log.
 *
 *   [(0, 0/1000), (3, 0/2000), (7, 0/2500)]      term 0: before 0/2000 · term 3: 0/2000 to 0/2500 · term 7: from 0/2500
 *
 * The first entry is (0, start of the timeline): term 0 is "before any leader", and all logs of a timeline share it, so
 * any two of them have a point in common. An acceptor keeps the whole history of the leader that it accepted, which may
 * reach beyond its own bytes; the part that describes its log is `upTo(history, recordEnd)`. An entry that stands exactly
 * at the end counts: the log has reached that term without holding a byte of it yet.
 */
import { compareLsn, formatLsn, minLsn, term, type Lsn, type Term } from '@coppice/vocabulary';
import { invariant } from './invariant';

export interface TermSwitch {
  readonly term: Term;
  /** Where the log of this term begins. */
  readonly lsn: Lsn;
}

export type TermHistory = readonly TermSwitch[];

/** The history of a timeline that had no leader yet. */
export function emptyHistory(startLsn: Lsn): TermHistory {
  return [{ term: term(0), lsn: startLsn }];
}

/** The part of a history that describes a log ending at `end`. */
export function upTo(history: TermHistory, end: Lsn): TermHistory {
  return history.filter((entry) => entry.lsn <= end);
}

/** The term of the last byte of a log ending at `end`: what elections compare first. */
export function lastLogTerm(history: TermHistory, end: Lsn): Term {
  return history.findLast((entry) => entry.lsn <= end)?.term ?? term(0);
}

/** What is wrong with a history that claims to belong to a timeline starting at `startLsn`; `undefined` when nothing is. */
export function historyProblem(history: TermHistory, startLsn: Lsn): string | undefined {
  const first = history[0];
  if (!first) return 'the term history is empty';
  if (first.term !== 0 || first.lsn !== startLsn)
    return `the term history does not begin with term 0 at ${formatLsn(startLsn)}`;
  for (let i = 1; i < history.length; i++) {
    const [before, after] = [history[i - 1]!, history[i]!];
    if (after.term <= before.term)
      return `term ${after.term} follows term ${before.term} in the term history`;
    if (after.lsn < before.lsn)
      return `term ${after.term} begins before term ${before.term} in the term history`;
  }
  return undefined;
}

/**
 * Up to where a log ending at `end` agrees with the leader's log: the end of the last term that both histories have in
 * common. The leader's history is open at its end, so within the leader's own term all of the log agrees.
 */
export function pointOfDivergence(leader: TermHistory, own: TermHistory, end: Lsn): Lsn {
  const ours = upTo(own, end);
  let common = -1;
  for (let i = 0; i < Math.min(leader.length, ours.length) && leader[i]!.term === ours[i]!.term; i++) {
    invariant(compareLsn(leader[i]!.lsn, ours[i]!.lsn) === 0, () => {
      const at = [leader[i]!, ours[i]!].map((entry) => formatLsn(entry.lsn)).join(' and ');
      return `term ${leader[i]!.term} begins at ${at}`;
    });
    common = i;
  }
  invariant(common >= 0, () => 'two logs of one timeline have no term in common');
  return minLsn(leader[common + 1]?.lsn ?? end, ours[common + 1]?.lsn ?? end);
}

export function sameHistory(a: TermHistory, b: TermHistory): boolean {
  return a.length === b.length && a.every((entry, i) => entry.term === b[i]!.term && entry.lsn === b[i]!.lsn);
}
