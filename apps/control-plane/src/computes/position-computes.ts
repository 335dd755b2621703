/**
 * Computes that run an endpoint's branch as it was at a position or a time, for sessions that only read:
 *
 *   (endpoint, when) ──find-fork-point──► position ──one live compute each──► joined, or begun as a passing compute
 *
 * Between control-planes the row is the lease, as for endpoints (see wake-compute.ts). The compute falls idle soon after its
 * last session did something, and its timeline, which holds nothing but its own checkpoints, is purged after that.
 */
import {
  type CatalogTables,
  type ComputeRow,
  findAtPosition,
  findForkSource,
  findProject,
  findWakeTarget,
  keepAwake,
  violatedIndex,
  type WakeTarget,
} from '@coppice/catalog';
import { type Clock, CoppiceError, SharedWork, withDeadline } from '@coppice/service-kit';
import { type EndpointId, formatLsn } from '@coppice/vocabulary';
import type { Kysely } from 'kysely';
import type { FindForkPoint } from '../forks/find-fork-point';
import type { ForkRequest } from '../forks/fork-request';
import type { PassingAt, PassingComputes } from './passing-computes';
import type { SuspendCompute } from './suspend-compute';
import { endpointDisabled, endpointUnknown, type WakeCompute } from './wake-compute';

/** Without activity for so long it is suspended. */
export const POSITION_IDLE_SECONDS = 30;
const PAUSE_MS = 100;

export interface PositionComputeServices {
  readonly db: Kysely<CatalogTables>;
  readonly forkPoint: FindForkPoint;
  readonly passing: PassingComputes;
  readonly wake: WakeCompute;
  readonly suspend: SuspendCompute;
  readonly clock: Clock;
  readonly wakeTimeoutMs: number;
}

export class PositionComputes {
  readonly #s: PositionComputeServices;
  readonly #underWay = new SharedWork<string, ComputeRow>();

  constructor(services: PositionComputeServices) {
    this.#s = services;
  }

  /** The compute that runs the endpoint's branch as it was then; `when` says when. */
  async wake(endpointId: EndpointId, when: ForkRequest, signal: AbortSignal): Promise<ComputeRow> {
    const target = await findWakeTarget(this.#s.db, endpointId);
    if (!target) throw endpointUnknown(endpointId);
    if (target.disabled) throw endpointDisabled(endpointId);
    const at = await this.#place(target, when, signal);
    const { position } = at.forSessions;
    return this.#underWay.join(position, signal, (nobodyWaits) => this.#run(position, at, nobodyWaits));
  }

  async #place(target: WakeTarget, when: ForkRequest, signal: AbortSignal) {
    const { db, forkPoint } = this.#s;
    const { endpointId, projectId, branchId } = target;
    const [project, source] = await Promise.all([
      findProject(db, projectId),
      findForkSource(db, projectId, branchId),
    ]);
    if (!project || !source?.branch) throw endpointUnknown(endpointId);
    const point = await forkPoint.find(source, source.branch, when, signal);
    const position = `${endpointId}@${point.timelineId}/${formatLsn(point.lsn)}`;
    return { project, branchId, point, forSessions: { position, idleSeconds: POSITION_IDLE_SECONDS } };
  }

  async #run(position: string, at: PassingAt, nobodyWaits: AbortSignal): Promise<ComputeRow> {
    const { db, clock, passing, wakeTimeoutMs } = this.#s;
    const patience = withDeadline(wakeTimeoutMs, nobodyWaits);
    while (!patience.aborted) {
      const live = await findAtPosition(db, position);
      if (live) {
        const running = await this.#join(live);
        if (running) return running;
        await clock.sleep(PAUSE_MS, patience).catch(() => undefined);
        continue;
      }
      try {
        return await passing.begin(at, patience);
      } catch (error) {
        // Another control-plane has begun it.
        if (violatedIndex(error) !== 'computes_position') throw error;
      }
    }
    nobodyWaits.throwIfAborted();
    throw new CoppiceError(
      'Unavailable',
      'wake-timeout',
      `${at.forSessions?.position ?? at.branchId} did not start within ${wakeTimeoutMs} ms`,
      { remedy: 'Connect again shortly.' },
    );
  }

  /** `undefined` while it is not running: another starts it, or it is being ended. */
  async #join(row: ComputeRow): Promise<ComputeRow | undefined> {
    const { db, wake, suspend, clock } = this.#s;
    if (row.state === 'stopping') {
      await suspend.finish(row);
      return undefined;
    }
    if (row.state !== 'running' || !(await wake.stillRuns(row))) return undefined;
    return (await keepAwake(db, row.id, new Date(clock.now()))) ? row : undefined;
  }
}
