/**
 * The head of a branch: the end of what is committed on it now.
 *
 *   a compute runs or is being suspended   its agent knows
 *   never started, or suspended cleanly    the metadata knows
 *   it ended otherwise                     the safekeepers know, mostly; else starting the branch settles it
 */
import { type Db, findForkSource, type ForkBranch } from '@coppice/catalog';
import type { ComputeStatus } from '@coppice/contracts';
import {
  asCoppiceError,
  Batches,
  type Clock,
  CoppiceError,
  type Log,
  withDeadline,
} from '@coppice/service-kit';
import { type Lsn, maxLsn, type EndpointId, type ProjectId, type TimelineId } from '@coppice/vocabulary';
import type { WakeCompute } from '../computes/wake-compute';
import type { Peers } from '../peers';
import { type QuorumHead, quorumHead } from './quorum-head';

const ATTEMPTS = 5;
const PAUSE_MS = 50;
const SAFEKEEPER_DEADLINE_MS = 2_000;
/** Time for starting a branch only to learn where it ends: below the deadline of a fork, milliseconds. */
const SETTLE_MS = 4_000;

/** Branches of which it is known which compute ran when they were last asked about. */
const MAX_REMEMBERED = 10_000;
/** Callers that share one answer of an agent. */
const MAX_TOGETHER = 1_000;

type RunningCompute = Pick<NonNullable<ForkBranch['compute']>, 'id' | 'nodeAddress'>;

/**
 * A question to the agent that most likely knows the head, sent off while the metadata is still being read. Its answer counts if
 * the metadata then names the same compute.
 */
export interface EarlyHead {
  /** What the asker calls the branch. */
  readonly key: string;
  readonly asked: { readonly computeId: string; readonly status: Promise<ComputeStatus> } | undefined;
}

/** In which states an agent knows all that was acknowledged: one that lost its term may be behind another. */
const TELLS_HEAD: ReadonlySet<string> = new Set(['running', 'stopping', 'stopped']);

export interface HeadServices {
  readonly db: Db;
  readonly peers: Peers;
  readonly wake: WakeCompute;
  readonly clock: Clock;
  readonly log: Log;
}

export class Heads {
  readonly #s: HeadServices;
  /** Of those who ask at the same time one does: the answer is as of when it was sent for, which none of them came after. */
  readonly #statuses: Batches<RunningCompute, ComputeStatus>;
  readonly #remembered = new Map<string, RunningCompute>();

  constructor(services: HeadServices) {
    this.#s = services;
    this.#statuses = new Batches({
      keyOf: (compute) => compute.id,
      maxBatch: MAX_TOGETHER,
      run: (computes) => {
        const [{ id, nodeAddress }] = computes as readonly [RunningCompute];
        const status = this.#s.peers.agent(nodeAddress).getCompute({ computeId: id });
        return computes.map(() => status);
      },
    });
  }

  /** Begins to ask for the head of a branch before it is known what it is; for `of`. */
  early(key: string): EarlyHead {
    const compute = this.#remembered.get(key);
    if (!compute) return { key, asked: undefined };
    const status = this.#statuses.add(compute);
    // Whoever does not need the answer after all does not look at it.
    status.catch(() => undefined);
    return { key, asked: { computeId: compute.id, status } };
  }

  async of(projectId: ProjectId, branch: ForkBranch, signal: AbortSignal, early?: EarlyHead): Promise<Lsn> {
    if (early) this.#remember(early.key, branch);
    let now: ForkBranch | undefined = branch;
    for (let attempt = 0; attempt < ATTEMPTS && now; attempt++) {
      const head = await this.#tryOnce(now, signal, attempt === 0 ? early : undefined);
      if (head !== undefined) return head;
      await this.#s.clock.sleep(PAUSE_MS, signal);
      now = (await findForkSource(this.#s.db, projectId, branch.id))?.branch;
    }
    throw new CoppiceError('NotYet', 'head-unknown', `where branch ${branch.id} ends is being settled`, {
      remedy: 'Try again in a few seconds, or name a parent_lsn.',
    });
  }

  #remember(key: string, { compute }: ForkBranch): void {
    this.#remembered.delete(key);
    if (compute?.state !== 'running') return;
    this.#remembered.set(key, { id: compute.id, nodeAddress: compute.nodeAddress });
    if (this.#remembered.size > MAX_REMEMBERED)
      this.#remembered.delete(this.#remembered.keys().next().value!);
  }

  async #tryOnce(branch: ForkBranch, signal: AbortSignal, early?: EarlyHead): Promise<Lsn | undefined> {
    const { compute } = branch;
    if (compute?.state === 'running' || compute?.state === 'stopping') {
      try {
        const asked = early?.asked?.computeId === compute.id ? early.asked.status : undefined;
        const { commitLsn, state } = await (asked ?? this.#statuses.add(compute));
        signal.throwIfAborted();
        if (TELLS_HEAD.has(state)) return maxLsn(commitLsn, branch.startLsn);
        return (await this.#ofQuorum(branch.timelineId, branch.startLsn, signal))?.lsn;
      } catch (error) {
        signal.throwIfAborted();
        const { kind, code } = asCoppiceError(error);
        this.#s.log.warn({ computeId: compute.id, kind, code }, 'the agent does not tell the head');
        // The answer of the quorum is good with a compute running, too: it only needs all safekeepers.
        return (await this.#ofQuorum(branch.timelineId, branch.startLsn, signal))?.lsn;
      }
    }
    if (branch.headLsn !== undefined) return branch.headLsn;
    const settled = await this.#ofQuorum(branch.timelineId, branch.startLsn, signal);
    // Nothing could be read at a head that was not announced until the branch runs again; without an endpoint it cannot.
    if (settled && (settled.isAnnounced || branch.endpointId === undefined)) return settled.lsn;
    if (branch.endpointId !== undefined) await this.#settle(branch.endpointId, signal);
    return undefined;
  }

  /** Starts the branch, which elects and so fixes where its WAL ends; a start that takes long goes on without us. */
  async #settle(endpointId: EndpointId, signal: AbortSignal): Promise<void> {
    const bounded = withDeadline(SETTLE_MS, signal);
    try {
      await this.#s.wake.wake(endpointId, bounded);
    } catch (error) {
      if (signal.aborted || !bounded.aborted) throw error;
    }
  }

  async #ofQuorum(
    timelineId: TimelineId,
    startLsn: Lsn,
    signal: AbortSignal,
  ): Promise<QuorumHead | undefined> {
    const statuses = await Promise.all(
      this.#s.peers.safekeepers.map((s) =>
        s
          .getTimelineStatus({ timelineId }, { signal, deadlineMs: SAFEKEEPER_DEADLINE_MS })
          .catch((error: unknown) =>
            asCoppiceError(error).kind === 'NotFound' ? ('no-wal' as const) : undefined,
          ),
      ),
    );
    return quorumHead(statuses, startLsn);
  }
}
