/** Runs a branch as it was at a position of its history, for one question or for sessions; see libs/catalog/src/passing-computes.ts. */
import {
  type CatalogTables,
  claimPassingCompute,
  type ComputeRow,
  findCompute,
  findPassingEndpoint,
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
import { StartAttempts } from './start-attempts';
import type { StartQueue, StartTurn } from './start-queue';
import type { SuspendCompute } from './suspend-compute';

/** Questions of one control-plane at once. */
const MAX_RUNNING = 4;
const MAX_WAITING = 100;
/** After a crash of ours it is suspended as idle after so long. */
const IDLE_SECONDS = 60;
const COMPUTE_UNITS = 0.25;
const START_DEADLINE_MS = 20_000;
/** Between two attempts to start it. */
const PAUSE_MS = 100;
/** Another may take the endpoint between its finding and its claim. */
const CLAIM_ATTEMPTS = 6;
const BRANCH_CHANGED = 'branch-changed';

export interface PassingComputeServices {
  readonly db: Kysely<CatalogTables>;
  readonly peers: Peers;
  readonly issuer: IdentityIssuer;
  readonly suspend: SuspendCompute;
  readonly queue: StartQueue;
  readonly quotas: Quotas;
  readonly spending: Spending;
  readonly identifiers: Identifiers;
  readonly clock: Clock;
  readonly log: Log;
}

export interface PassingAt {
  readonly project: ProjectRow;
  readonly branchId: BranchId;
  readonly point: ForkPoint;
  /** What sessions find it by, and when it is idle for them; absent for one question. */
  readonly forSessions?: { readonly position: string; readonly idleSeconds: number };
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
      const row = await this.begin(at, signal);
      try {
        return await work(row);
      } finally {
        await this.#end(row, 'it was of use for one question');
      }
    }, signal);
  }

  /** A compute that runs; whoever asks for it ends it, or leaves it to be found idle. */
  async begin(at: PassingAt, signal: AbortSignal): Promise<ComputeRow> {
    const attempts = new StartAttempts();
    for (;;) {
      const running = await this.#attempt(at, attempts, signal);
      if (running) return running;
      await this.#s.clock.sleep(PAUSE_MS, signal).catch(() => undefined);
      if (signal.aborted) throw attempts.last;
    }
  }

  /** `undefined` when it may be tried again. */
  async #attempt(
    at: PassingAt,
    attempts: StartAttempts,
    signal: AbortSignal,
  ): Promise<ComputeRow | undefined> {
    const wanted = {
      what: `branch ${at.branchId} at ${formatLsn(at.point.lsn)}`,
      agentId: at.project.agent_id,
      computeUnits: COMPUTE_UNITS,
      ...attempts.forLine,
    };
    return this.#s.queue.run(wanted, signal, async (turn) => {
      attempts.order = turn.order;
      const made = await this.#claim(at, turn, signal);
      turn.claimed();
      try {
        return await this.#start(made, at, turn, signal);
      } catch (error) {
        await this.#end(made.row, 'it did not start');
        if (signal.aborted || !attempts.failed(turn.node.id, asCoppiceError(error))) throw error;
        return undefined;
      }
    });
  }

  async #claim(
    at: PassingAt,
    { node, expectedBytes }: StartTurn,
    signal: AbortSignal,
  ): Promise<PassingCompute> {
    const { db, quotas, spending, identifiers, clock } = this.#s;
    const { project, branchId, point, forSessions } = at;
    const now = new Date(clock.now());
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
        idleLimitSeconds: idleSeconds(at),
        memoryBytes: expectedBytes,
        position: forSessions?.position,
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

  async #start(
    { row, systemIdentifier }: PassingCompute,
    at: PassingAt,
    { node }: StartTurn,
    signal: AbortSignal,
  ): Promise<ComputeRow> {
    const { peers, db, issuer, clock, log } = this.#s;
    const began = clock.monotonic();
    const compute = await peers.agent(node.address).startCompute(
      {
        computeId: row.id,
        endpointId: row.endpoint_id,
        timelineId: row.timeline_id,
        timelineStartLsn: at.point.lsn,
        expectedLsn: at.point.lsn,
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
    const idleDue = idleDueAt(now, idleSeconds(at));
    await markPassingRunning(db, { ...compute, id: row.id, idleDueAt: idleDue, now: new Date(now) });
    log.info(
      { computeId: row.id, branchId: at.branchId, ms: Math.round(clock.monotonic() - began) },
      'passing compute runs',
    );
    return (await findCompute(db, row.id)) ?? row;
  }

  /** Nothing of it is wanted any more. What cannot be ended now falls idle, and its timeline is purged after that. */
  async #end(row: ComputeRow, why: string): Promise<void> {
    const { db, suspend, clock, log } = this.#s;
    try {
      failpoint('passing-compute-discarded');
      await suspend.discard(row, why);
      await makeTimelinesDue(db, [row.timeline_id], new Date(clock.now()));
    } catch (error) {
      log.warn(
        { err: error, computeId: row.id, code: asCoppiceError(error).code },
        'passing compute is left to be found idle',
      );
    }
  }
}

function idleSeconds({ forSessions }: PassingAt): number {
  return forSessions?.idleSeconds ?? IDLE_SECONDS;
}

function changedMeanwhile({ branchId, point }: PassingAt): CoppiceError {
  return new CoppiceError(
    'Conflict',
    BRANCH_CHANGED,
    `branch ${branchId} was deleted, or no longer keeps LSN ${formatLsn(point.lsn)}`,
    { remedy: 'List the branches and try again.' },
  );
}
