/** Where a position lies on the way from a timeline to its template. Pure. */
import { formatLsn, type Lsn, type TimelineId } from '@coppice/vocabulary';
import { CoppiceError } from '@coppice/service-kit';
import type { LineageStep } from '@coppice/catalog';

/** A fork point: a position on the timeline that a new one descends from. */
export interface ForkPoint {
  readonly timelineId: TimelineId;
  readonly lsn: Lsn;
  /** The project's own set-up statements are not in effect there yet. */
  readonly beforeSetup: boolean;
}

export interface Placement extends ForkPoint {
  /** The position lies inside the timeline's own WAL: it must be brought to the end of a record there. */
  readonly inside: boolean;
  readonly startLsn: Lsn;
}

/** The position just where the timeline begins belongs to it: nothing of its own is before it. */
export function placeOnLineage(steps: readonly LineageStep[], lsn: Lsn): Placement {
  const owner = steps.at(-1);
  if (!owner)
    throw new CoppiceError(
      'Corrupt',
      'timeline-missing',
      'a branch names a timeline that the metadata does not hold',
    );
  if (owner.ancestorLsn === undefined) {
    const root = steps.at(-2);
    throw beforeHistory(lsn, root?.ancestorLsn);
  }
  if (owner.retainedFrom !== undefined && lsn < owner.retainedFrom)
    throw beforeHistory(lsn, owner.retainedFrom);
  const beforeSetup = owner.setupDoneLsn !== undefined && lsn < owner.setupDoneLsn;
  return {
    timelineId: owner.id,
    lsn,
    startLsn: owner.ancestorLsn,
    inside: lsn > owner.ancestorLsn,
    beforeSetup,
  };
}

function beforeHistory(lsn: Lsn, nearest: Lsn | undefined): CoppiceError {
  return new CoppiceError(
    'Invalid',
    'lsn-before-history',
    `LSN ${formatLsn(lsn)} lies before the history of this branch`,
    {
      remedy: nearest === undefined ? 'Use a later one.' : `The earliest is ${formatLsn(nearest)}.`,
    },
  );
}
