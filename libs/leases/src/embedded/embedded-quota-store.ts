import {
  type AgentLimits,
  type Amounts,
  bucketOf,
  type Counts,
  minus,
  NEVER_RETRY_AFTER_MS,
  plus,
  quotaVerdict,
  takeToken,
  wholeAmounts,
} from '@coppice/quotas';
import { type Clock, systemClock } from '@coppice/service-kit';
import type { AgentCounters, QuotaStore, RateAnswer, Reservation } from '../quota-store';
import { RecentMap } from './recent-map';

/** Agents remembered; of more, those not seen for longest are forgotten, which costs a recount. */
const AGENTS = 100_000;

/** Counters in this process: for one control-plane. They are lost with it, and recounted on demand. */
export class EmbeddedQuotaStore implements QuotaStore {
  readonly #clock: Clock;
  readonly #counters: RecentMap<string, AgentCounters>;
  readonly #fullAtUs: RecentMap<string, number>;

  constructor(clock: Clock = systemClock, agents = AGENTS) {
    this.#clock = clock;
    this.#counters = new RecentMap(agents);
    this.#fullAtUs = new RecentMap(agents);
  }

  async reserve(
    agentId: string,
    wants: Amounts,
    limits: AgentLimits,
    signal?: AbortSignal,
  ): Promise<Reservation> {
    signal?.throwIfAborted();
    const held = this.#counters.get(agentId);
    if (held === undefined) return { kind: 'unknown' };
    const verdict = quotaVerdict(held.counts, wants, limits);
    if (verdict.kind === 'exceeded') return verdict;
    this.#counters.set(agentId, { counts: plus(held.counts, wants), epoch: held.epoch });
    return { kind: 'reserved', epoch: held.epoch };
  }

  async release(agentId: string, amounts: Amounts, epoch: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const held = this.#counters.get(agentId);
    if (held?.epoch === epoch) this.#counters.set(agentId, { counts: minus(held.counts, amounts), epoch });
  }

  async rebuild(agentId: string, counts: Counts, epoch: number, signal?: AbortSignal): Promise<number> {
    signal?.throwIfAborted();
    const held = this.#counters.get(agentId);
    if (held !== undefined && held.epoch >= epoch) return held.epoch;
    this.#counters.set(agentId, { counts: wholeAmounts(counts), epoch });
    return epoch;
  }

  async read(agentId: string, signal?: AbortSignal): Promise<AgentCounters | undefined> {
    signal?.throwIfAborted();
    return this.#counters.get(agentId);
  }

  async forget(agentId: string, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.#counters.delete(agentId);
    this.#fullAtUs.delete(agentId);
  }

  async takeRequest(
    agentId: string,
    ratePerSecond: number,
    burst: number,
    signal?: AbortSignal,
  ): Promise<RateAnswer> {
    signal?.throwIfAborted();
    const bucket = bucketOf(ratePerSecond, burst);
    if (bucket === undefined) return { allowed: false, retryAfterMs: NEVER_RETRY_AFTER_MS };
    const taken = takeToken(bucket, this.#fullAtUs.get(agentId) ?? 0, Math.floor(this.#clock.now() * 1000));
    if (!taken.allowed) return taken;
    this.#fullAtUs.set(agentId, taken.fullAtUs);
    return { allowed: true };
  }
}
