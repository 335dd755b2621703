/** Ends what still runs on a history that a branch was taken off, and waits until it is gone. */
import { type ComputeRow, type Db, findLiveComputes } from '@coppice/catalog';
import { type Clock, CoppiceError, failpoint } from '@coppice/service-kit';
import type { BranchId, TimelineId } from '@coppice/vocabulary';
import type { SuspendCompute } from '../computes/suspend-compute';

/** An agent that does not answer counts as dead within this time, with its computes; milliseconds. */
const WAIT_MS = 25_000;
const PAUSE_MS = 50;

export interface EndServices {
  readonly db: Db;
  readonly suspend: SuspendCompute;
  readonly clock: Clock;
}

/**
 * The computes are `stopping` already, so none of them is found by a client that connects now. When this process dies here,
 * another one's look at left-over stops, or the next wake, ends them.
 */
export async function endOldComputes(
  { db, suspend, clock }: EndServices,
  branch: { readonly id: BranchId; readonly timelineId: TimelineId },
  signal: AbortSignal,
): Promise<void> {
  failpoint('restore-before-ending-computes');
  const until = clock.monotonic() + WAIT_MS;
  const left = async (): Promise<ComputeRow[]> =>
    (await findLiveComputes(db, { branchId: branch.id })).filter((c) => c.timeline_id !== branch.timelineId);
  for (let rows = await left(); rows.length > 0; rows = await left()) {
    const gone = await Promise.all(rows.map((row) => suspend.kill(row, 'its branch was restored', signal)));
    if (gone.every(Boolean)) return;
    if (clock.monotonic() > until)
      throw new CoppiceError(
        'Unavailable',
        'old-compute-not-ended',
        `branch ${branch.id} is restored, but the agent of its former compute does not answer`,
        { remedy: 'Connect again: the branch starts as soon as the former compute is gone.' },
      );
    await clock.sleep(PAUSE_MS, signal);
  }
}
