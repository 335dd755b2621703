/**
 * Makes the compute of an endpoint run. Calls for one endpoint share one start: in this process by a map, between
 * control-planes by the compute row, which one of them claims and the others join (see catalog/computes).
 *
 *   no live row ──claim on the least loaded agent──► starting ──agent.StartCompute──► running
 *                                                       └─ fails: row failed; once more, on another agent if there is one
 *   running: asked of the agent; gone ⇒ failed, start over       stopping: waited for, start over
 *            there ⇒ counts as used now, so that no idle sweep takes it before the client has said a word
 *
 * Nothing here decides who may write: a second compute of an endpoint fences the first through the safekeepers' terms.
 */
import {
  claimCompute,
  type ComputeRow,
  type Db,
  findCompute,
  findNode,
  findWakeTarget,
  keepAwake,
  listAgents,
  markGone,
  markRunning,
  recordOperations,
  type WakeTarget,
} from '@coppice/catalog';
import {
  asCoppiceError,
  type Clock,
  CoppiceError,
  Counter,
  failpoint,
  Histogram,
  type IdentityIssuer,
  type Log,
  withDeadline,
} from '@coppice/service-kit';
import type { ComputeId, EndpointId, NodeId } from '@coppice/vocabulary';
import { createRoleOnce } from '../credentials/setup-sql';
import { finishedOperation } from '../operations/finished-operation';
import type { Identifiers } from '../naming/identifiers';
import type { Peers } from '../peers';
import type { Quotas } from '../quotas/quotas';
import type { Spending } from '../quotas/spending';
import type { StorageCaps } from '../quotas/storage-caps';
import { idleDueAt, idleLimitSeconds } from './idle';
import { chooseAgent } from './placement';
import type { SuspendCompute } from './suspend-compute';

const startSeconds = new Histogram({
  name: 'coppice_compute_start_seconds',
  help: 'Time from the claim of a compute until it accepts connections, seconds.',
  buckets: [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30],
});
const startFailures = new Counter({
  name: 'coppice_compute_start_failures_total',
  help: 'Starts of computes that an agent refused or failed.',
});

/** A start that an agent refuses is tried this often in all; one that no agent could be asked for, until the deadline. */
const MAX_REFUSALS = 2;
const NOBODY_ASKED = new Set(['no-compute-agent', 'peer-unavailable']);
const ALREADY_LIVE = 'already-live';
const PAUSE_MS = 100;
const PASSING_START_MS = 25_000;

export interface WakeLimits {
  /** An agent that has not reported for so long gets no new computes, milliseconds. */
  readonly agentDeadAfterMs: number;
  /** One wake, with all its attempts, milliseconds. */
  readonly wakeTimeoutMs: number;
}

export interface WakeServices {
  readonly db: Db;
  readonly peers: Peers;
  readonly issuer: IdentityIssuer;
  readonly suspend: SuspendCompute;
  readonly quotas: Quotas;
  readonly spending: Spending;
  readonly storageCaps: StorageCaps;
  readonly identifiers: Identifiers;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: WakeLimits;
}

export class WakeCompute {
  readonly #s: WakeServices;
  readonly #underWay = new Map<EndpointId, Promise<ComputeRow>>();

  constructor(services: WakeServices) {
    this.#s = services;
  }

  /** The endpoint's running compute. A caller that goes away leaves the shared start to the others. */
  async wake(endpointId: EndpointId, signal?: AbortSignal): Promise<ComputeRow> {
    signal?.throwIfAborted();
    let shared = this.#underWay.get(endpointId);
    if (!shared) {
      shared = this.#run(endpointId).finally(() => this.#underWay.delete(endpointId));
      this.#underWay.set(endpointId, shared);
    }
    if (!signal) return shared;
    const left = new Promise<never>((_, reject) =>
      signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
    );
    return Promise.race([shared, left]);
  }

  /** Carries on a start whose process may have died; nothing when it is over, or under way here. */
  async complete(row: ComputeRow): Promise<void> {
    if (this.#underWay.has(row.endpoint_id)) return;
    const target = await findWakeTarget(this.#s.db, row.endpoint_id);
    // Of an endpoint that nobody sees: a passing compute, whose maker gives up before that.
    if (!target && row.created_at < this.#s.clock.now() - PASSING_START_MS)
      return this.#s.suspend.discard(row, 'nobody waits for its start');
    if (target?.live?.id !== row.id || target.live.state !== 'starting') return;
    await this.#start(target.live, target, withDeadline(this.#s.limits.wakeTimeoutMs));
  }

  async #run(endpointId: EndpointId): Promise<ComputeRow> {
    const { db, clock, limits } = this.#s;
    const deadline = withDeadline(limits.wakeTimeoutMs);
    const failedOn = new Set<NodeId>();
    let refusals = 0;
    let last: CoppiceError | undefined;
    while (!deadline.aborted) {
      const target = await findWakeTarget(db, endpointId);
      if (!target) throw notFound(endpointId);
      if (target.disabled) {
        throw new CoppiceError('Conflict', 'endpoint-disabled', `endpoint ${endpointId} is disabled`, {
          remedy: 'Enable it, or connect through another endpoint of the branch.',
        });
      }
      let row = target.live;
      try {
        row ??= await this.#claim(target, failedOn);
        const running = row && (await this.#join(row, target, deadline));
        if (running) return running;
      } catch (error) {
        last = asCoppiceError(error);
        if (last.kind === 'QuotaExceeded') throw last;
        if (row) failedOn.add(row.node_id);
        if (!NOBODY_ASKED.has(last.code) && ++refusals >= MAX_REFUSALS && !deadline.aborted) throw last;
      }
      await clock.sleep(PAUSE_MS, deadline).catch(() => undefined);
    }
    if (last && NOBODY_ASKED.has(last.code)) throw last;
    throw new CoppiceError(
      'Unavailable',
      'wake-timeout',
      `endpoint ${endpointId} did not start within ${limits.wakeTimeoutMs} ms`,
      {
        remedy: 'Connect again shortly.',
        cause: last,
      },
    );
  }

  async #claim(target: WakeTarget, failedOn: ReadonlySet<NodeId>): Promise<ComputeRow | undefined> {
    const { db, clock, identifiers, limits, quotas, spending } = this.#s;
    const now = clock.now();
    const node = chooseAgent(await listAgents(db, new Date(now - limits.agentDeadAfterMs)), failedOn);
    if (!node)
      throw new CoppiceError('Unavailable', 'no-compute-agent', 'no compute agent reports for duty', {
        remedy: 'Try again shortly; if it lasts, look at the compute agents.',
      });
    const limit = idleLimitSeconds(target.suspendTimeoutSeconds, target.projectSuspendTimeoutSeconds);
    await spending.check(target.endpointId);
    return quotas
      .spend({ of: { agentId: target.agentId }, wants: { computes: 1 } }, async (quota) => {
        const claimed = await claimCompute(db, target, {
          id: identifiers.compute(),
          node,
          idleLimitSeconds: limit,
          quota,
          now: new Date(now),
        });
        // As an error, so that the reservation is given back.
        if (!claimed) throw new CoppiceError('Conflict', ALREADY_LIVE, 'the endpoint has a live compute');
        return claimed;
      })
      .catch((error: unknown) => {
        if (asCoppiceError(error).code === ALREADY_LIVE) return undefined;
        throw error;
      });
  }

  /** Brings a live row to `running`; `undefined` when it turned out to be over, so that the caller looks again. */
  async #join(row: ComputeRow, target: WakeTarget, signal: AbortSignal): Promise<ComputeRow | undefined> {
    switch (row.state) {
      case 'running':
        return (await this.#stillRuns(row)) &&
          (await keepAwake(this.#s.db, row.id, new Date(this.#s.clock.now())))
          ? row
          : undefined;
      case 'starting':
        return this.#start(row, target, signal);
      case 'stopping':
        await this.#s.suspend.finish(row);
        return undefined;
      case 'stopped':
      case 'failed':
        return undefined;
    }
  }

  async #start(row: ComputeRow, target: WakeTarget, signal: AbortSignal): Promise<ComputeRow | undefined> {
    const { db, peers, issuer, clock, log, storageCaps } = this.#s;
    const node = await findNode(db, row.node_id);
    if (!node || node.incarnation !== row.incarnation) {
      await this.#gone(row, 'the agent was restarted during the start');
      return undefined;
    }
    const began = clock.monotonic();
    const agent = peers.agent(node.address);
    failpoint('start-before-agent');
    try {
      const compute = await agent.startCompute(
        {
          computeId: row.id,
          endpointId: row.endpoint_id,
          timelineId: row.timeline_id,
          timelineStartLsn: target.timelineStartLsn,
          systemIdentifier: target.systemIdentifier,
          fencingToken: row.fencing_token,
          setupSql: [...target.setupSql, ...target.pendingRoles.map(createRoleOnce)],
          settings: {},
          computeUnits: target.maxComputeUnits,
          minComputeUnits: target.minComputeUnits,
          storageLimitBytes: await storageCaps.atStart(row.endpoint_id),
          keepDataDirectory: false,
          timelineToken: issuer.issue('compute', {
            node: row.node_id,
            timeline: row.timeline_id,
            compute: row.id,
          }),
        },
        { signal },
      );
      if (compute.state !== 'running')
        throw new CoppiceError(
          'Unavailable',
          'compute-start-failed',
          `the compute is ${compute.state}: ${compute.failure}`,
        );
      failpoint('start-before-running');
      const now = clock.now();
      const idleDue = idleDueAt(now, row.suspend_timeout_seconds);
      await markRunning(db, { ...compute, id: row.id, idleDueAt: idleDue, now: new Date(now) });
      startSeconds.observe((clock.monotonic() - began) / 1000);
      log.info(
        {
          computeId: row.id,
          endpointId: row.endpoint_id,
          ms: Math.round(clock.monotonic() - began),
          phases: compute.phases,
        },
        'compute runs',
      );
    } catch (error) {
      startFailures.inc();
      log.warn(
        { err: error, computeId: row.id, endpointId: row.endpoint_id, node: row.node_id },
        'compute start fails',
      );
      await this.#gone(row, asCoppiceError(error).message);
      await this.#recordStart(row, Math.round(clock.monotonic() - began), asCoppiceError(error).message);
      void agent
        .stopCompute({ computeId: row.id, immediate: true }, { deadlineMs: 5_000 })
        .catch(() => undefined);
      throw error;
    }
    await this.#recordStart(row, Math.round(clock.monotonic() - began));
    const now = await findCompute(db, row.id);
    return now?.state === 'running' ? now : undefined;
  }

  /** Asks the agent. One that is slow to answer is believed; one that is not there has taken its computes with it. */
  async #stillRuns(row: ComputeRow): Promise<boolean> {
    const { db, peers } = this.#s;
    const node = await findNode(db, row.node_id);
    try {
      if (!node)
        throw new CoppiceError('NotFound', 'node-not-found', `node ${row.node_id} is not registered`);
      const compute = await peers.agent(node.address).getCompute({ computeId: row.id });
      if (compute.state === 'running') return true;
      await this.#gone(row, compute.failure || `the agent reports it ${compute.state}`);
    } catch (error) {
      const known = asCoppiceError(error);
      if (known.code === 'deadline-exceeded') return true;
      await this.#gone(row, known.message);
    }
    return false;
  }

  async #gone(row: ComputeRow, why: string): Promise<void> {
    await markGone(this.#s.db, row.id, { state: 'failed', why, now: new Date(this.#s.clock.now()) });
  }

  async #recordStart(row: ComputeRow, durationMs: number, error?: string): Promise<void> {
    const now = this.#s.clock.now();
    await recordOperations(this.#s.db, [
      finishedOperation({
        id: startOperationId(row.id),
        action: 'start_compute',
        projectId: row.project_id,
        branchId: row.branch_id,
        endpointId: row.endpoint_id,
        beganAt: now - durationMs,
        endedAt: now,
        ...(error === undefined ? {} : { error }),
      }),
    ]);
  }
}

/** The operation that tells of a compute's start: one, however many shared it. */
export function startOperationId(id: ComputeId): string {
  return id.replace(/^compute-(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

function notFound(endpointId: EndpointId): CoppiceError {
  return new CoppiceError('NotFound', 'endpoint-not-found', `endpoint ${endpointId} does not exist`, {
    remedy: 'Check the host name or the endpoint option of the connection string.',
  });
}
