/** From what a request says (head, a position, a time, a checkpoint) to the record end on the timeline where the new one starts. */
import { type Db, findCheckpoint, findLineage, type ForkBranch, type ForkSource } from '@coppice/catalog';
import { asCoppiceError, type Clock, CoppiceError } from '@coppice/service-kit';
import {
  type BranchId,
  formatLsn,
  type Lsn,
  maxLsn,
  type ProjectId,
  type TimelineId,
} from '@coppice/vocabulary';
import type { Peers } from '../peers';
import type { ForkRequest } from './fork-request';
import type { EarlyHead, Heads } from './heads';
import { type ForkPoint, placeOnLineage } from './lineage';

const RESOLVE_ATTEMPTS = 20;
const RESOLVE_PAUSE_MS = 100;
const SAFEKEEPER_DEADLINE_MS = 2_000;

export interface ForkPointServices {
  readonly db: Db;
  readonly peers: Peers;
  readonly heads: Heads;
  readonly clock: Clock;
}

export class FindForkPoint {
  readonly #s: ForkPointServices;

  constructor(services: ForkPointServices) {
    this.#s = services;
  }

  async find(
    source: ForkSource,
    branch: ForkBranch,
    request: ForkRequest,
    signal: AbortSignal,
    early?: EarlyHead,
  ): Promise<ForkPoint> {
    if (request.checkpoint !== undefined)
      return this.#atCheckpoint(source.projectId, branch.id, request.checkpoint);
    if (request.unixMicros !== undefined && request.unixMicros > BigInt(this.#s.clock.now()) * 1000n) {
      throw new CoppiceError('Invalid', 'timestamp-in-future', 'the time asked for lies in the future', {
        remedy: `The latest is now, ${new Date(this.#s.clock.now()).toISOString()}.`,
      });
    }
    const head = await this.#s.heads.of(source.projectId, branch, signal, early);
    if (request.lsn !== undefined) {
      if (request.lsn > head) {
        throw new CoppiceError(
          'Invalid',
          'lsn-in-future',
          `LSN ${formatLsn(request.lsn)} is not committed on branch ${branch.id}`,
          { remedy: `The latest is ${formatLsn(head)}.` },
        );
      }
      return this.#atLsn(branch, request.lsn, head, signal);
    }
    if (request.unixMicros !== undefined)
      return this.#atTime(source, branch, request.unixMicros, head, signal);
    return { timelineId: branch.timelineId, lsn: head, beforeSetup: branch.setupPending };
  }

  /** Its position may lie on a timeline that the branch has left. */
  async #atCheckpoint(projectId: ProjectId, branchId: BranchId, idOrName: string): Promise<ForkPoint> {
    const { db, clock } = this.#s;
    const row = await findCheckpoint(db, { projectId, branchId }, idOrName, new Date(clock.now()));
    if (!row) throw checkpointNotFound(idOrName, branchId);
    return { timelineId: row.timeline_id, lsn: row.lsn, beforeSetup: row.before_setup };
  }

  async #atLsn(branch: ForkBranch, lsn: Lsn, head: Lsn, signal: AbortSignal): Promise<ForkPoint> {
    const placed = placeOnLineage(await findLineage(this.#s.db, branch.timelineId, lsn), lsn);
    const onOwn = placed.timelineId === branch.timelineId;
    const beforeSetup = placed.beforeSetup || (onOwn && branch.setupPending);
    if (!placed.inside || (onOwn && lsn === head)) return { ...placed, beforeSetup };
    const end = await this.#recordEnd(placed.timelineId, lsn, signal);
    return { timelineId: placed.timelineId, lsn: maxLsn(end, placed.startLsn), beforeSetup };
  }

  async #atTime(
    source: ForkSource,
    branch: ForkBranch,
    unixMicros: bigint,
    head: Lsn,
    signal: AbortSignal,
  ): Promise<ForkPoint> {
    if (unixMicros < BigInt(source.projectCreatedAt) * 1000n) {
      throw new CoppiceError(
        'Invalid',
        'timestamp-before-history',
        'the time asked for lies before the project was created',
        {
          remedy: `The earliest is ${new Date(source.projectCreatedAt).toISOString()}.`,
        },
      );
    }
    const lsn = await this.#lsnAtTime(branch.timelineId, unixMicros, head, signal);
    const steps = await findLineage(this.#s.db, branch.timelineId, lsn ?? (0n as Lsn));
    // The template's own commits are before every project: what finds them starts where the project does.
    const root = steps.at(-1)?.ancestorLsn === undefined ? steps.at(-2) : undefined;
    if (root?.ancestorLsn !== undefined)
      return {
        timelineId: root.id,
        lsn: root.ancestorLsn,
        beforeSetup: root.setupDoneLsn !== undefined || branch.setupPending,
      };
    const placed = placeOnLineage(steps, lsn!);
    return {
      ...placed,
      beforeSetup: placed.beforeSetup || (placed.timelineId === branch.timelineId && branch.setupPending),
    };
  }

  /** `undefined` before the first commit. */
  async #lsnAtTime(
    timelineId: TimelineId,
    unixMicros: bigint,
    head: Lsn,
    signal: AbortSignal,
  ): Promise<Lsn | undefined> {
    const { pageserver } = this.#s.peers;
    try {
      const { lsn } = await pageserver.lsnAtTime({ timelineId, unixMicros, upToLsn: head }, { signal });
      return lsn;
    } catch (error) {
      if (asCoppiceError(error).kind === 'NotFound') return undefined;
      throw error;
    }
  }

  /**
   * The end of the last record at or before `lsn`. Safekeepers answer up to what they know to be committed, which the leader
   * tells them a moment later than us.
   */
  async #recordEnd(timelineId: TimelineId, lsn: Lsn, signal: AbortSignal): Promise<Lsn> {
    let failure: unknown;
    for (let attempt = 0; attempt < RESOLVE_ATTEMPTS; attempt++) {
      if (attempt > 0) await this.#s.clock.sleep(RESOLVE_PAUSE_MS, signal);
      const answers = await Promise.allSettled(
        this.#s.peers.safekeepers.map((s) =>
          s.resolveLsn({ timelineId, lsn }, { signal, deadlineMs: SAFEKEEPER_DEADLINE_MS }),
        ),
      );
      for (const answer of answers) {
        if (answer.status === 'rejected') failure = answer.reason;
        else if (answer.value.commitLsn >= lsn) return answer.value.lsn;
      }
    }
    throw new CoppiceError('NotYet', 'lsn-not-placed', `no safekeeper can place LSN ${formatLsn(lsn)} yet`, {
      remedy: 'Start the endpoint of the branch and try again, or fork from the head.',
      cause: failure,
    });
  }
}

export function checkpointNotFound(idOrName: string, branchId: BranchId): CoppiceError {
  return new CoppiceError(
    'NotFound',
    'checkpoint-not-found',
    `branch ${branchId} has no checkpoint ${JSON.stringify(idOrName.slice(0, 60))}`,
    { remedy: 'List the checkpoints of the branch to see their ids and names.' },
  );
}
