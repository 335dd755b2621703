/** Suspends what is idle, a bounded number at a time; reads only what is due. */
import {
  countIdleComputes,
  countRunningComputes,
  type ComputeRow,
  type Db,
  findIdleComputes,
} from '@coppice/catalog';
import type { IdleCompute } from '@coppice/contracts';
import { asCoppiceError, type Clock, type Log, Semaphore } from '@coppice/service-kit';
import type { SuspendCompute } from './suspend-compute';

const MAX_PER_SWEEP = 1000;
/** Suspends under way at once, so that a sweep does not crowd out wakes. */
const CONCURRENCY = 8;

export interface SweepServices {
  readonly db: Db;
  readonly suspend: SuspendCompute;
  readonly clock: Clock;
  readonly log: Log;
}

export async function sweepIdle(
  s: SweepServices,
  limit: number,
  dryRun: boolean,
): Promise<{ computes: IdleCompute[]; running: number; due: number }> {
  const now = s.clock.now();
  const [running, count] = [await countRunningComputes(s.db), await countIdleComputes(s.db, new Date(now))];
  const due = await findIdleComputes(s.db, new Date(now), Math.min(limit || MAX_PER_SWEEP, MAX_PER_SWEEP));
  const permits = new Semaphore(CONCURRENCY);
  const describe = (row: ComputeRow) => ({
    computeId: row.id,
    endpointId: row.endpoint_id,
    idleMs: now - (row.last_active_at ?? now),
  });
  const computes = await Promise.all(
    due.map((row) =>
      dryRun
        ? { ...describe(row), suspended: false, failure: '' }
        : permits.run(async () => {
            try {
              return {
                ...describe(row),
                suspended: await s.suspend.suspend(row, new Date(now)),
                failure: '',
              };
            } catch (error) {
              s.log.warn({ err: error, computeId: row.id }, 'idle compute is not suspended');
              return { ...describe(row), suspended: false, failure: asCoppiceError(error).message };
            }
          }),
    ),
  );
  return { computes, running, due: count };
}
