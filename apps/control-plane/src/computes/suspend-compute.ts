/**
 * Takes computes out of service. A suspend is over when the quorum holds the shutdown checkpoint; its position is then the
 * head of the timeline. Two that stop one compute share the stop, and a stop left half-done is finished by the next.
 */
import {
  beginStop,
  type ComputeRow,
  type Db,
  findNode,
  makeTimelinesDue,
  markGone,
  markStopped,
  type OnlyIfIdle,
} from '@coppice/catalog';
import { asCoppiceError, type Clock, Counter, failpoint, type Log } from '@coppice/service-kit';
import { type ComputeId, INVALID_LSN } from '@coppice/vocabulary';
import type { Peers } from '../peers';

const suspends = new Counter({
  name: 'coppice_compute_suspends_total',
  help: 'Computes that were suspended cleanly.',
});

/** Time for an agent to end a compute at once, milliseconds. */
const KILL_MS = 5_000;

export interface SuspendServices {
  readonly db: Db;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly log: Log;
}

export class SuspendCompute {
  readonly #s: SuspendServices;
  readonly #underWay = new Map<ComputeId, Promise<void>>();

  constructor(services: SuspendServices) {
    this.#s = services;
  }

  /** Suspends a running compute. False when it is not running, or `onlyIf` does not hold (any more). */
  async suspend(row: ComputeRow, onlyIf?: OnlyIfIdle): Promise<boolean> {
    if (!(await beginStop(this.#s.db, row.id, onlyIf))) return false;
    failpoint('suspend-before-agent');
    await this.finish(row);
    return true;
  }

  /** Completes the stop of a row that is `stopping`. */
  async finish(row: ComputeRow): Promise<void> {
    let shared = this.#underWay.get(row.id);
    if (!shared) {
      shared = this.#end(row).finally(() => this.#underWay.delete(row.id));
      this.#underWay.set(row.id, shared);
    }
    return shared;
  }

  /** Ends a compute without its last words: its branch is deleted, and the quorum has them, or nobody wants them. */
  async discard(row: ComputeRow, why = 'its branch was deleted'): Promise<void> {
    const { db, peers, clock, log } = this.#s;
    const node = await findNode(db, row.node_id);
    try {
      if (node) await peers.agent(node.address).stopCompute({ computeId: row.id, immediate: true });
    } catch (error) {
      const { code } = asCoppiceError(error);
      if (asCoppiceError(error).kind !== 'NotFound')
        log.warn({ err: error, computeId: row.id, code }, 'discarded compute is left to its agent');
    }
    await markGone(db, row.id, {
      state: 'stopped',
      why,
      now: new Date(clock.now()),
    });
  }

  /**
   * Ends a compute at once, with its sessions; what it acknowledged is with the quorum. False while its agent does not say that it
   * is gone: until the agent counts as dead, it may go on.
   */
  async kill(row: ComputeRow, why: string, signal?: AbortSignal): Promise<boolean> {
    const { db, peers, clock, log } = this.#s;
    const node = await findNode(db, row.node_id);
    const gone = () => markGone(db, row.id, { state: 'stopped', why, now: new Date(clock.now()) });
    if (node && node.incarnation === row.incarnation) {
      try {
        const compute = await peers
          .agent(node.address)
          .stopCompute(
            { computeId: row.id, immediate: true },
            { deadlineMs: KILL_MS, ...(signal ? { signal } : {}) },
          );
        // Everything acknowledged is at or before the position that a compute which was not fenced knows to be committed.
        if (compute.state === 'stopped' && compute.commitLsn !== INVALID_LSN) {
          await markStopped(db, row.id, compute.commitLsn, new Date(clock.now()));
          return true;
        }
      } catch (error) {
        const { kind, code } = asCoppiceError(error);
        if (kind !== 'NotFound') {
          log.warn({ err: error, computeId: row.id, code }, 'compute is not ended yet');
          return false;
        }
      }
    }
    await gone();
    return true;
  }

  /** What ran a branch as it was leaves a timeline that nobody needs. */
  async #end(row: ComputeRow): Promise<void> {
    await this.#finish(row);
    if (row.position !== null)
      await makeTimelinesDue(this.#s.db, [row.timeline_id], new Date(this.#s.clock.now()));
  }

  async #finish(row: ComputeRow): Promise<void> {
    const { db, peers, clock, log } = this.#s;
    const node = await findNode(db, row.node_id);
    const gone = (why: string) => markGone(db, row.id, { state: 'failed', why, now: new Date(clock.now()) });
    if (!node || node.incarnation !== row.incarnation) {
      await gone('the agent was restarted');
      return;
    }
    try {
      const compute = await peers.agent(node.address).stopCompute({ computeId: row.id, immediate: false });
      if (compute.state !== 'stopped') {
        await gone(compute.failure || `the agent reports it ${compute.state}`);
        return;
      }
      failpoint('suspend-before-stopped');
      await markStopped(db, row.id, compute.commitLsn, new Date(clock.now()));
      suspends.inc();
      log.info({ computeId: row.id, endpointId: row.endpoint_id }, 'compute is suspended');
    } catch (error) {
      const known = asCoppiceError(error);
      if (known.kind !== 'NotFound' && known.code !== 'peer-unavailable') throw error;
      log.warn({ err: error, computeId: row.id }, 'compute is gone before its suspend ended');
      await gone(known.message);
    }
  }
}
