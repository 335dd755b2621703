/**
 * Makes the compute of an endpoint run. Calls for one endpoint share one start: in this process by a map, between
 * control-planes by the compute row, which one of them claims and the others join (see catalog/computes).
 *
 *   no live row ──its turn (start-queue.ts)──► claimed: starting ──agent.StartCompute──► running
 *        └─ nobody waits any more: forgotten            └─ fails: row failed; once more, on another agent if there is one
 *   running: asked of the agent; gone ⇒ failed, start over       stopping: waited for, start over
 *            there ⇒ counts as used now, so that no idle sweep takes it before the client has said a word
 *
 * Nothing here decides who may write: a second compute of an endpoint fences the first through the safekeepers' terms.
 */
import {
  claimCompute,
  type ComputeRow,
  type Db,
  findNode,
  findWakeTarget,
  keepAwake,
  markGone,
  markRunning,
  type NodeRow,
  recordOperations,
  type WakeTarget,
} from '@coppice/catalog';
import {
  anySignal,
  asCoppiceError,
  type Clock,
  CoppiceError,
  Counter,
  type ErrorKind,
  failpoint,
  Histogram,
  type IdentityIssuer,
  type Log,
  SharedWork,
  shownOutside,
  withDeadline,
} from '@coppice/service-kit';
import type { ComputeId, EndpointId } from '@coppice/vocabulary';
import { createRoleOnce } from '../credentials/setup-sql';
import { finishedOperation } from '../operations/finished-operation';
import type { Identifiers } from '../naming/identifiers';
import type { Peers } from '../peers';
import type { Quotas } from '../quotas/quotas';
import type { Spending } from '../quotas/spending';
import type { StorageCaps } from '../quotas/storage-caps';
import { idleDueAt, idleLimitSeconds } from './idle';
import { MAX_REFUSALS, StartAttempts } from './start-attempts';
import type { StartQueue, StartTurn } from './start-queue';
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

/** What says all there is to say, whoever said it. */
const SAYS_ENOUGH: ReadonlySet<ErrorKind> = new Set(['QuotaExceeded', 'Invalid', 'Conflict', 'Corrupt']);
const ALREADY_LIVE = 'already-live';
const PAUSE_MS = 100;
const PASSING_START_MS = 25_000;

export interface WakeLimits {
  /** One wake, with all its attempts, milliseconds. */
  readonly wakeTimeoutMs: number;
}

/** How far a wake has come. */
interface Attempt {
  readonly attempts: StartAttempts;
  /** The compute that is being started. */
  row: ComputeRow | undefined;
}

export interface WakeServices {
  readonly db: Db;
  readonly peers: Peers;
  readonly issuer: IdentityIssuer;
  readonly suspend: SuspendCompute;
  readonly queue: StartQueue;
  readonly quotas: Quotas;
  readonly spending: Spending;
  readonly storageCaps: StorageCaps;
  readonly identifiers: Identifiers;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: WakeLimits;
}

/** What a claim was made with: a start that follows at once need not find it out again. */
interface Claimed {
  readonly row: ComputeRow;
  readonly node: NodeRow;
  readonly storageLimitBytes: number;
}

export class WakeCompute {
  readonly #s: WakeServices;
  readonly #underWay = new SharedWork<EndpointId, ComputeRow>();

  constructor(services: WakeServices) {
    this.#s = services;
  }

  /**
   * The endpoint's running compute. A caller that goes away leaves the shared start to the others; without any it is taken out of
   * the line, or goes on when it has begun.
   */
  async wake(endpointId: EndpointId, signal?: AbortSignal): Promise<ComputeRow> {
    return this.#underWay.join(endpointId, signal, (nobodyWaits) => this.#run(endpointId, nobodyWaits));
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

  async #run(endpointId: EndpointId, nobodyWaits: AbortSignal): Promise<ComputeRow> {
    const { clock, limits } = this.#s;
    const deadline = withDeadline(limits.wakeTimeoutMs);
    const attempts = new StartAttempts();
    const attempt: Attempt = { attempts, row: undefined };
    while (!deadline.aborted) {
      const target = await this.#target(endpointId);
      attempt.row = target.live;
      try {
        const running = target.live
          ? await this.#join(target.live, target, deadline)
          : await this.#startInTurn(target, attempt, deadline, nobodyWaits);
        if (running) return running;
      } catch (error) {
        // It did not come to a start.
        if (!attempt.row) throw error;
        const failure = asCoppiceError(error);
        if (!attempts.failed(attempt.row.node_id, failure) && !deadline.aborted)
          throw startFailed(endpointId, failure);
      }
      await clock.sleep(PAUSE_MS, deadline).catch(() => undefined);
      nobodyWaits.throwIfAborted();
    }
    if (attempts.wasNobodyAsked) throw attempts.last;
    throw new CoppiceError(
      'Unavailable',
      'wake-timeout',
      `endpoint ${endpointId} did not start within ${limits.wakeTimeoutMs} ms`,
      {
        remedy: 'Connect again shortly.',
        cause: attempts.last,
      },
    );
  }

  async #target(endpointId: EndpointId): Promise<WakeTarget> {
    const target = await findWakeTarget(this.#s.db, endpointId);
    if (!target) throw endpointUnknown(endpointId);
    if (target.disabled) throw endpointDisabled(endpointId);
    return target;
  }

  /** Once it is begun, it is carried on whoever waits. */
  async #startInTurn(
    found: WakeTarget,
    attempt: Attempt,
    deadline: AbortSignal,
    nobodyWaits: AbortSignal,
  ): Promise<ComputeRow | undefined> {
    const { endpointId, agentId, maxComputeUnits: computeUnits } = found;
    const wanted = {
      what: `endpoint ${endpointId}`,
      agentId,
      computeUnits,
      ...attempt.attempts.forLine,
    };
    const inLine = anySignal([deadline, nobodyWaits]);
    return this.#s.queue.run(wanted, inLine, async (turn) => {
      attempt.attempts.order = turn.order;
      const target = turn.waitedMs < PAUSE_MS ? found : await this.#target(endpointId);
      const claimed = target.live ? undefined : await this.#claim(target, turn);
      attempt.row = target.live ?? claimed?.row;
      turn.claimed();
      return attempt.row && this.#join(attempt.row, target, deadline, claimed);
    });
  }

  async #claim(target: WakeTarget, { node, expectedBytes }: StartTurn): Promise<Claimed | undefined> {
    const { db, clock, identifiers, quotas, spending, storageCaps } = this.#s;
    const limit = idleLimitSeconds(target.suspendTimeoutSeconds, target.projectSuspendTimeoutSeconds);
    const [storageLimitBytes] = await Promise.all([
      storageCaps.atStart(target.endpointId),
      spending.check(target.endpointId),
    ]);
    return quotas
      .spend({ of: { agentId: target.agentId }, wants: { computes: 1 } }, async (quota) => {
        const claimed = await claimCompute(db, target, {
          id: identifiers.compute(),
          node,
          idleLimitSeconds: limit,
          memoryBytes: expectedBytes,
          quota,
          now: new Date(clock.now()),
        });
        // As an error, so that the reservation is given back.
        if (!claimed) throw new CoppiceError('Conflict', ALREADY_LIVE, 'the endpoint has a live compute');
        return { row: claimed, node, storageLimitBytes };
      })
      .catch((error: unknown) => {
        if (asCoppiceError(error).code === ALREADY_LIVE) return undefined;
        throw error;
      });
  }

  /** Brings a live row to `running`; `undefined` when it turned out to be over, so that the caller looks again. */
  async #join(
    row: ComputeRow,
    target: WakeTarget,
    signal: AbortSignal,
    claimed?: Claimed,
  ): Promise<ComputeRow | undefined> {
    switch (row.state) {
      case 'running':
        return (await this.stillRuns(row)) &&
          (await keepAwake(this.#s.db, row.id, new Date(this.#s.clock.now())))
          ? row
          : undefined;
      case 'starting':
        return this.#start(row, target, signal, claimed);
      case 'stopping':
        await this.#s.suspend.finish(row);
        return undefined;
      case 'stopped':
      case 'failed':
        return undefined;
    }
  }

  async #start(
    row: ComputeRow,
    target: WakeTarget,
    signal: AbortSignal,
    claimed?: Claimed,
  ): Promise<ComputeRow | undefined> {
    const { db, peers, issuer, clock, log, storageCaps } = this.#s;
    const node = claimed?.node ?? (await findNode(db, row.node_id));
    if (!node || node.incarnation !== row.incarnation) {
      await this.#gone(row, 'the agent was restarted during the start');
      return undefined;
    }
    const began = clock.monotonic();
    const agent = peers.agent(node.address);
    failpoint('start-before-agent');
    let running: ComputeRow | undefined;
    try {
      const compute = await agent.startCompute(
        {
          computeId: row.id,
          endpointId: row.endpoint_id,
          timelineId: row.timeline_id,
          timelineStartLsn: target.timelineStartLsn,
          expectedLsn: target.headLsn,
          systemIdentifier: target.systemIdentifier,
          fencingToken: row.fencing_token,
          setupSql: [...target.setupSql, ...target.pendingRoles.map(createRoleOnce)],
          settings: {},
          computeUnits: target.maxComputeUnits,
          minComputeUnits: target.minComputeUnits,
          storageLimitBytes: claimed?.storageLimitBytes ?? (await storageCaps.atStart(row.endpoint_id)),
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
      [running] = await Promise.all([
        markRunning(db, { ...compute, id: row.id, idleDueAt: idleDue, now: new Date(now) }),
        this.#recordStart(row, Math.round(clock.monotonic() - began)),
      ]);
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
    return running;
  }

  /**
   * Asks the agent of a row that was `running`. One that is slow to answer is believed; one that is not there has taken its computes
   * with it. One that says `stopping` was told so by a suspend, whose end is waited for: to start over before that would depose it.
   */
  async stillRuns(row: ComputeRow): Promise<boolean> {
    const { db, peers } = this.#s;
    const node = await findNode(db, row.node_id);
    try {
      if (!node)
        throw new CoppiceError('NotFound', 'node-not-found', `node ${row.node_id} is not registered`);
      const compute = await peers.agent(node.address).getCompute({ computeId: row.id });
      if (compute.state === 'running') return true;
      if (compute.state !== 'stopping')
        await this.#gone(row, compute.failure || `the agent reports it ${compute.state}`, 'running');
    } catch (error) {
      const known = asCoppiceError(error);
      if (known.code === 'deadline-exceeded') return true;
      await this.#gone(row, known.message, 'running');
    }
    return false;
  }

  async #gone(row: ComputeRow, why: string, onlyIf?: 'running'): Promise<void> {
    const now = new Date(this.#s.clock.now());
    await markGone(this.#s.db, row.id, { state: 'failed', why, now, ...(onlyIf && { onlyIf }) });
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

/** What the last of the attempts ended with, for those outside. */
function startFailed(endpointId: EndpointId, last: CoppiceError): CoppiceError {
  if (SAYS_ENOUGH.has(last.kind)) return last;
  return new CoppiceError(
    'Unavailable',
    'compute-start-failed',
    `endpoint ${endpointId} did not start in ${MAX_REFUSALS} attempts; the last one: ${shownOutside(last).message}`,
    { remedy: 'Connect again; if it stays, look at the logs of the compute agents.', cause: last },
  );
}

export function endpointDisabled(endpointId: EndpointId): CoppiceError {
  return new CoppiceError('Conflict', 'endpoint-disabled', `endpoint ${endpointId} is disabled`, {
    remedy: 'Enable it, or connect through another endpoint of the branch.',
  });
}

export function endpointUnknown(endpointId: EndpointId): CoppiceError {
  return new CoppiceError('NotFound', 'endpoint-not-found', `endpoint ${endpointId} does not exist`, {
    remedy: 'Check the host name or the endpoint option of the connection string.',
  });
}
