/** Runs a branch as it was at a position of its history, for one question; see libs/catalog/src/passing-computes.ts. */
import {
  type CatalogTables,
  claimPassingCompute,
  type ComputeRow,
  findNode,
  findPassingEndpoint,
  listAgents,
  makeTimelinesDue,
  markPassingRunning,
  type PassingCompute,
  type ProjectRow,
  violatedIndex,
} from '@coppice/catalog';
import {
  asCoppiceError,
  type Clock,
  CoppiceError,
  failpoint,
  type IdentityIssuer,
  type Log,
  Semaphore,
} from '@coppice/service-kit';
import { type BranchId, formatLsn } from '@coppice/vocabulary';
import type { Kysely } from 'kysely';
import type { ForkPoint } from '../forks/lineage';
import type { Identifiers } from '../naming/identifiers';
import type { Peers } from '../peers';
import type { Quotas } from '../quotas/quotas';
import type { Spending } from '../quotas/spending';
import { idleDueAt } from './idle';
import { chooseAgent } from './placement';
import type { SuspendCompute } from './suspend-compute';

/** Of one control-plane at once. */
const MAX_RUNNING = 4;
const MAX_WAITING = 100;
/** After a crash of ours it is suspended as idle after so long. */
const IDLE_SECONDS = 60;
const COMPUTE_UNITS = 0.25;
const START_DEADLINE_MS = 20_000;
/** Another may take the endpoint between its finding and its claim. */
const CLAIM_ATTEMPTS = 6;
const BRANCH_CHANGED = 'branch-changed';

export interface PassingComputeServices {
  readonly db: Kysely<CatalogTables>;
  readonly peers: Peers;
  readonly issuer: IdentityIssuer;
  readonly suspend: SuspendCompute;
  readonly quotas: Quotas;
  readonly spending: Spending;
  readonly identifiers: Identifiers;
  readonly clock: Clock;
  readonly log: Log;
  readonly agentDeadAfterMs: number;
}

export interface PassingAt {
  readonly project: ProjectRow;
  readonly branchId: BranchId;
  readonly point: ForkPoint;
}

export class PassingComputes {
  readonly #s: PassingComputeServices;
  readonly #permits = new Semaphore(MAX_RUNNING, MAX_WAITING);

  constructor(services: PassingComputeServices) {
    this.#s = services;
  }

  /** Runs `work` on a compute that is gone afterwards, whatever `work` did on it. */
  async run<T>(at: PassingAt, signal: AbortSignal, work: (row: ComputeRow) => Promise<T>): Promise<T> {
    return this.#permits.run(async () => {
      const made = await this.#claim(at, signal);
      try {
        await this.#start(made, at, signal);
        return await work(made.row);
      } finally {
        await this.#end(made.row);
      }
    }, signal);
  }

  async #claim(at: PassingAt, signal: AbortSignal): Promise<PassingCompute> {
    const { db, quotas, spending, identifiers, clock, agentDeadAfterMs } = this.#s;
    const { project, branchId, point } = at;
    const now = new Date(clock.now());
    const node = chooseAgent(await listAgents(db, new Date(clock.now() - agentDeadAfterMs)), new Set());
    if (!node)
      throw new CoppiceError('Unavailable', 'no-compute-agent', 'no compute agent reports for duty', {
        remedy: 'Try again shortly; if it lasts, look at the compute agents.',
      });
    const of = { projectId: project.id, branchId };
    for (let attempt = 0; attempt < CLAIM_ATTEMPTS; attempt++) {
      const endpointId = await findPassingEndpoint(db, of, identifiers.endpoint(), now);
      await spending.check(endpointId);
      const claim = {
        ...of,
        id: identifiers.compute(),
        endpointId,
        timelineId: identifiers.timeline(),
        ancestor: { id: point.timelineId, lsn: point.lsn },
        node,
        agentId: project.agent_id,
        computeUnits: COMPUTE_UNITS,
        idleLimitSeconds: IDLE_SECONDS,
        now,
      };
      const wanted = { of: { agentId: project.agent_id }, wants: { computes: 1 }, signal };
      const claimed = await quotas
        .spend(wanted, async (quota) => {
          const made = await db.transaction().execute((tx) => claimPassingCompute(tx, { ...claim, quota }));
          // As an error, so that the reservation is given back.
          if (!made) throw changedMeanwhile(at);
          return made;
        })
        .catch((error: unknown) => {
          const isTaken = violatedIndex(error) === 'computes_live';
          if (!isTaken && asCoppiceError(error).code !== BRANCH_CHANGED) throw error;
          return undefined;
        });
      if (claimed) return claimed;
    }
    throw changedMeanwhile(at);
  }

  async #start({ row, systemIdentifier }: PassingCompute, at: PassingAt, signal: AbortSignal): Promise<void> {
    const { peers, db, issuer, clock, log } = this.#s;
    const node = await findNode(db, row.node_id);
    if (!node)
      throw new CoppiceError('Unavailable', 'compute-gone', `node ${row.node_id} is not registered`, {
        remedy: 'Try again shortly.',
      });
    const began = clock.monotonic();
    const compute = await peers.agent(node.address).startCompute(
      {
        computeId: row.id,
        endpointId: row.endpoint_id,
        timelineId: row.timeline_id,
        timelineStartLsn: at.point.lsn,
        systemIdentifier,
        fencingToken: row.fencing_token,
        setupSql: at.point.beforeSetup ? at.project.setup_sql : [],
        settings: {},
        computeUnits: COMPUTE_UNITS,
        storageLimitBytes: 0,
        keepDataDirectory: false,
        timelineToken: issuer.issue('compute', {
          node: row.node_id,
          timeline: row.timeline_id,
          compute: row.id,
        }),
      },
      { signal, deadlineMs: START_DEADLINE_MS },
    );
    if (compute.state !== 'running')
      throw new CoppiceError(
        'Unavailable',
        'compute-start-failed',
        `the compute is ${compute.state}: ${compute.failure}`,
        { remedy: 'Try again shortly.' },
      );
    const now = clock.now();
    const idleDue = idleDueAt(now, IDLE_SECONDS);
    await markPassingRunning(db, { ...compute, id: row.id, idleDueAt: idleDue, now: new Date(now) });
    log.info(
      { computeId: row.id, branchId: at.branchId, ms: Math.round(clock.monotonic() - began) },
      'passing compute runs',
    );
  }

  /** Nothing of it is wanted any more. What cannot be ended now falls idle, and its timeline is purged after that. */
  async #end(row: ComputeRow): Promise<void> {
    const { db, suspend, clock, log } = this.#s;
    try {
      failpoint('passing-compute-discarded');
      await suspend.discard(row, 'it was of use for one question');
      await makeTimelinesDue(db, [row.timeline_id], new Date(clock.now()));
    } catch (error) {
      log.warn(
        { err: error, computeId: row.id, code: asCoppiceError(error).code },
        'passing compute is left to be found idle',
      );
    }
  }
}

function changedMeanwhile({ branchId, point }: PassingAt): CoppiceError {
  return new CoppiceError(
    'Conflict',
    BRANCH_CHANGED,
    `branch ${branchId} was deleted, or no longer keeps LSN ${formatLsn(point.lsn)}`,
    { remedy: 'List the branches and try again.' },
  );
}
