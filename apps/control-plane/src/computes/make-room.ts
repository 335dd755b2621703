/** Suspends computes before their time, so that one that wakes has room: the least recently used that nobody uses now. */
import { type ComputeRow, type Db, findCompute, findLeastUsedComputes, recordAudit } from '@coppice/catalog';
import { type Clock, Counter, type Log } from '@coppice/service-kit';
import { chooseToSuspend, type Shortage } from './compute-memory';
import type { LookAgain } from './look-again';
import type { SuspendCompute } from './suspend-compute';

const suspends = new Counter({
  name: 'coppice_compute_early_suspends_total',
  help: 'Idle computes that were suspended before their time, to make room for another.',
});

/** Who asks for it, in the audit log. */
const BY = { agentId: 'control-plane', taskId: undefined } as const;
/** Looked at when there is no room. */
const MAX_LOOKED_AT = 100;

export interface MakeRoomServices {
  readonly db: Db;
  readonly suspend: SuspendCompute;
  readonly lookAgain: LookAgain;
  readonly clock: Clock;
  readonly log: Log;
  /** A compute that was used since is in use, milliseconds. */
  readonly unusedForMs: number;
}

export class MakeRoom {
  readonly #s: MakeRoomServices;
  #underWay = false;

  constructor(services: MakeRoomServices) {
    this.#s = services;
  }

  /** Begins to, unless it is being done; calls `done` when there is more room. */
  begin(shortages: readonly Shortage[], done: () => void): void {
    if (this.#underWay) return;
    this.#underWay = true;
    void this.#make(shortages)
      .catch((error: unknown) => {
        this.#s.log.warn({ err: error }, 'no room is made for a compute');
        return 0;
      })
      .then((made) => {
        this.#underWay = false;
        // Otherwise the line looks again by itself, a moment later.
        if (made > 0) done();
      });
  }

  async #make(shortages: readonly Shortage[]): Promise<number> {
    const { db, clock, log, unusedForMs } = this.#s;
    const unusedSince = new Date(clock.now() - unusedForMs);
    const unused = await findLeastUsedComputes(
      db,
      shortages.map((s) => s.node),
      unusedSince,
      MAX_LOOKED_AT,
    );
    const chosen = chooseToSuspend(unused, shortages);
    const rows = unused.filter((row) => chosen.includes(row.id));
    // All have come to an end before more are chosen: one that stops still counts.
    const made = await Promise.allSettled(rows.map((row) => this.#suspend(row, unusedSince)));
    for (const m of made)
      if (m.status === 'rejected') log.warn({ err: m.reason as unknown }, 'an idle compute makes no room');
    return made.filter((m) => m.status === 'fulfilled' && m.value).length;
  }

  /** What its agent last said may be seconds old: it is asked. */
  async #suspend(row: ComputeRow, unusedSince: Date): Promise<boolean> {
    const { db, suspend, lookAgain, clock, log } = this.#s;
    if ((await lookAgain.use(row, unusedSince)) !== 'unused') return false;
    if (!(await suspend.suspend(row, { unusedSince }))) return false;
    if ((await findCompute(db, row.id))?.state === 'stopped') suspends.inc();
    log.info({ computeId: row.id, endpointId: row.endpoint_id }, 'idle compute makes room for another');
    await recordAudit(db, {
      ...BY,
      action: 'suspend-compute',
      projectId: row.project_id,
      branchId: row.branch_id,
      endpointId: row.endpoint_id,
      detail: { why: 'room for another compute' },
      now: new Date(clock.now()),
    });
    return true;
  }
}
