import { type AgentLimits, type Amounts, type Counts, exceededText, type Exceeded } from '@coppice/quotas';
import { type Clock, CoppiceError, Counter, type Log, systemClock } from '@coppice/service-kit';
import { RecentMap } from './embedded/recent-map';
import type { AgentCounters, QuotaStore } from './quota-store';

const recounts = new Counter({
  name: 'coppice_quota_recounts_total',
  help: 'Counters set anew from the metadata database.',
  labelNames: ['reason'],
});
const refusals = new Counter({
  name: 'coppice_quota_exceeded_total',
  help: 'Creations refused at a limit.',
  labelNames: ['resource'],
});
const lostReleases = new Counter({
  name: 'coppice_quota_lost_releases_total',
  help: 'Releases that did not reach the store; the next recount makes up for them.',
});

/** Rounds of reserving and inserting before giving up: each loses one only to a recount by somebody else. */
const ATTEMPTS = 6;
const AGENTS_REMEMBERED = 10_000;
/** A refused agent is recounted when its counters are older: they may still have what crashes left behind. */
const TRUSTED_FOR_MS = 60_000;

/** The metadata database, as far as counting goes; see `quota-store.ts` for the transactions. */
export interface QuotaTruth {
  /**
   * One transaction: sets the agent's epoch to one above both itself and `above`, then counts. `undefined` when there is no
   * such agent.
   */
  advance(agentId: string, above: number, signal?: AbortSignal): Promise<AgentCounters | undefined>;
}

export type Inserted<T> =
  | { readonly kind: 'committed'; readonly value: T }
  | /** The epoch is not the agent's. */ { readonly kind: 'stale' };

export interface Spending {
  readonly agentId: string;
  readonly wants: Amounts;
  readonly limits: AgentLimits;
  readonly signal?: AbortSignal | undefined;
}

export interface QuotaLedgerOptions {
  readonly store: QuotaStore;
  readonly truth: QuotaTruth;
  readonly log: Log;
  readonly clock?: Clock;
}

/** Reserve, insert, give back: the whole protocol of `quota-store.ts` around the caller's own transactions. */
export class QuotaLedger {
  readonly #store: QuotaStore;
  readonly #truth: QuotaTruth;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #underWay = new Map<string, Promise<number>>();
  readonly #recountedAt = new RecentMap<string, number>(AGENTS_REMEMBERED);

  constructor({ store, truth, log, clock = systemClock }: QuotaLedgerOptions) {
    this.#store = store;
    this.#truth = truth;
    this.#log = log;
    this.#clock = clock;
  }

  /**
   * Reserves and calls `insert` with the epoch that its transaction has to check. What `insert` throws is passed on; the
   * reservation is given back when the error says for certain that nothing was committed, and else left to a recount. Fails
   * with `QuotaExceeded` `quota-exceeded` at a limit.
   */
  async spend<T>(spending: Spending, insert: (epoch: number) => Promise<Inserted<T>>): Promise<T> {
    const { agentId, wants, limits, signal } = spending;
    let above = 0;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const reserved = await this.#store.reserve(agentId, wants, limits, signal);
      if (reserved.kind === 'unknown') {
        above = Math.max(above, await this.#recount(agentId, above, 'unknown', signal));
      } else if (reserved.kind === 'exceeded') {
        if (this.#isTrusted(agentId)) throw exceeded(reserved, wants);
        await this.#recount(agentId, above, 'exceeded', signal);
      } else {
        const inserted = await this.#insert(spending, reserved.epoch, insert);
        if (inserted.kind === 'committed') return inserted.value;
        if ((await this.#store.read(agentId, signal))?.epoch === reserved.epoch)
          above = Math.max(above, await this.#recount(agentId, reserved.epoch, 'stale', signal));
      }
    }
    throw new CoppiceError(
      'Unavailable',
      'quota-contended',
      `the counters of agent ${agentId} changed ${ATTEMPTS} times`,
      {
        remedy: 'Send the request again.',
      },
    );
  }

  /** Gives back what was deleted, under the epoch read in the deleting transaction. Never fails: a recount makes up for it. */
  async giveBack(agentId: string, amounts: Amounts, epoch: number): Promise<void> {
    try {
      await this.#store.release(agentId, amounts, epoch);
    } catch (error) {
      lostReleases.inc();
      this.#log.warn({ err: error, agent: agentId }, 'quota is not given back, the next recount does it');
    }
  }

  /** Sets the counters from the truth; right at any time. Returns the truth, `undefined` when there is no such agent. */
  async recount(agentId: string, signal?: AbortSignal): Promise<Counts | undefined> {
    return (await this.#advance(agentId, 0, 'asked', signal))?.counts;
  }

  async #insert<T>(
    { agentId, wants }: Spending,
    epoch: number,
    insert: (epoch: number) => Promise<Inserted<T>>,
  ): Promise<Inserted<T>> {
    try {
      return await insert(epoch);
    } catch (error) {
      if (isRefusal(error)) await this.giveBack(agentId, wants, epoch);
      else this.#recountedAt.delete(agentId);
      throw error;
    }
  }

  #isTrusted(agentId: string): boolean {
    const at = this.#recountedAt.get(agentId);
    return at !== undefined && this.#clock.monotonic() - at < TRUSTED_FOR_MS;
  }

  /** Recounts once for all who ask at the same time: each recount ends the reservations under way. */
  #recount(agentId: string, above: number, reason: string, signal?: AbortSignal): Promise<number> {
    signal?.throwIfAborted();
    let recount = this.#underWay.get(agentId);
    if (!recount) {
      recount = this.#epochAfterRecount(agentId, above, reason).finally(() => this.#underWay.delete(agentId));
      this.#underWay.set(agentId, recount);
    }
    return abortable(recount, signal);
  }

  async #epochAfterRecount(agentId: string, above: number, reason: string): Promise<number> {
    const counters = await this.#advance(agentId, above, reason);
    if (counters) return counters.epoch;
    throw new CoppiceError('NotFound', 'agent-not-found', `there is no agent ${agentId}`);
  }

  async #advance(
    agentId: string,
    above: number,
    reason: string,
    signal?: AbortSignal,
  ): Promise<AgentCounters | undefined> {
    const startedAt = this.#clock.monotonic();
    const truth = await this.#truth.advance(agentId, above, signal);
    if (!truth) {
      await this.#store.forget(agentId, signal);
      return undefined;
    }
    const epoch = await this.#store.rebuild(agentId, truth.counts, truth.epoch, signal);
    recounts.inc({ reason });
    this.#recountedAt.set(agentId, startedAt);
    return { counts: truth.counts, epoch };
  }
}

/** Whether an error is an answer, so that nothing was committed; others leave that open. */
function isRefusal(error: unknown): boolean {
  return error instanceof CoppiceError && !['Unavailable', 'NotYet', 'Internal'].includes(error.kind);
}

function exceeded({ resource, limit, used }: Exceeded, wants: Amounts): CoppiceError {
  refusals.inc({ resource });
  const { message, remedy } = exceededText(resource, { limit, used, wanted: wants[resource] ?? 0 });
  return new CoppiceError('QuotaExceeded', 'quota-exceeded', message, { remedy });
}

/** The wait for a common result ends with the signal; the work goes on for the others. */
function abortable<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
