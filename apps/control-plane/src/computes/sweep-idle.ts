/** Suspends what is idle, a bounded number at a time; reads only what is due. */
import {
  type AuditEntry,
  countIdleComputes,
  countRunningComputes,
  type ComputeRow,
  type Db,
  findIdleComputes,
  recordAudit,
} from '@coppice/catalog';
import type { IdleCompute } from '@coppice/contracts';
import { asCoppiceError, type Clock, type Log, Semaphore } from '@coppice/service-kit';
import { REAPER } from '../reaping/swept-item';
import type { LookAgain } from './look-again';
import type { SuspendCompute } from './suspend-compute';

const MAX_PER_SWEEP = 1000;
/** Suspends under way at once, so that a sweep does not crowd out wakes. */
const CONCURRENCY = 8;

export interface SweepServices {
  readonly db: Db;
  readonly suspend: SuspendCompute;
  readonly lookAgain: LookAgain;
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
  const suspendOne = async (row: ComputeRow): Promise<IdleCompute> => {
    try {
      const suspended = (await mayGo(s, row)) && (await s.suspend.suspend(row, { idleAt: new Date(now) }));
      if (suspended) await recordAudit(s.db, suspension(row, new Date(s.clock.now())));
      return { ...describe(row), suspended, failure: '' };
    } catch (error) {
      s.log.warn({ err: error, computeId: row.id }, 'idle compute is not suspended');
      return { ...describe(row), suspended: false, failure: asCoppiceError(error).message };
    }
  };
  const computes = await Promise.all(
    due.map((row) =>
      dryRun ? { ...describe(row), suspended: false, failure: '' } : permits.run(() => suspendOne(row)),
    ),
  );
  return { computes, running, due: count };
}

/** Reports are seconds old: its agent is asked. While that does not tell, it may be in use; that of a dead agent has ended. */
async function mayGo(s: SweepServices, row: ComputeRow): Promise<boolean> {
  return (await s.lookAgain.use(row, new Date(row.last_active_at ?? 0))) === 'unused';
}

function suspension(row: ComputeRow, now: Date): AuditEntry {
  return {
    ...REAPER,
    action: 'suspend-compute',
    projectId: row.project_id,
    branchId: row.branch_id,
    endpointId: row.endpoint_id,
    now,
  };
}
