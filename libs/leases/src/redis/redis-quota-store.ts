import {
  type AgentLimits,
  type Amounts,
  bucketOf,
  type Counts,
  NEVER_RETRY_AFTER_MS,
  type Resource,
  RESOURCES,
  wholeAmounts,
} from '@coppice/quotas';
import type { AgentCounters, QuotaStore, RateAnswer, Reservation } from '../quota-store';
import { READ, REBUILD, RELEASE, RESERVE, TAKE } from './quota-scripts';
import type { RedisConnection } from './redis-connection';

const UNAVAILABLE = 'quota-store-unavailable';

type Reply = readonly string[];

/** Counters in Redis, shared by all control-planes. */
export class RedisQuotaStore implements QuotaStore {
  readonly #reserve;
  readonly #release;
  readonly #rebuild;
  readonly #read;
  readonly #take;
  readonly #delete;

  constructor(redis: RedisConnection) {
    this.#reserve = redis.script(RESERVE, UNAVAILABLE);
    this.#release = redis.script(RELEASE, UNAVAILABLE);
    this.#rebuild = redis.script(REBUILD, UNAVAILABLE);
    this.#read = redis.script(READ, UNAVAILABLE);
    this.#take = redis.script(TAKE, UNAVAILABLE);
    this.#delete = redis.script({ name: 'quotaForget', lua: `redis.call('DEL', KEYS[1])` }, UNAVAILABLE);
  }

  async reserve(
    agentId: string,
    wants: Amounts,
    limits: AgentLimits,
    signal?: AbortSignal,
  ): Promise<Reservation> {
    signal?.throwIfAborted();
    const caps = RESOURCES.map((resource) => limits[resource] ?? '');
    const [kind, ...rest] = (await this.#reserve(countersKey(agentId), ...inOrder(wants), ...caps)) as Reply;
    if (kind === 'unknown') return { kind };
    if (kind === 'reserved') return { kind, epoch: Number(rest[0]) };
    const [resource, limit, used] = rest;
    return { kind: 'exceeded', resource: resource as Resource, limit: Number(limit), used: Number(used) };
  }

  async release(agentId: string, amounts: Amounts, epoch: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await this.#release(countersKey(agentId), epoch, ...inOrder(amounts));
  }

  async rebuild(agentId: string, counts: Counts, epoch: number, signal?: AbortSignal): Promise<number> {
    signal?.throwIfAborted();
    return Number(await this.#rebuild(countersKey(agentId), epoch, ...inOrder(counts)));
  }

  async read(agentId: string, signal?: AbortSignal): Promise<AgentCounters | undefined> {
    signal?.throwIfAborted();
    const reply = (await this.#read(countersKey(agentId))) as Reply | null;
    if (reply === null) return undefined;
    const [epoch, projects, branches, computes] = reply.map(Number) as [number, number, number, number];
    return { epoch, counts: { projects, branches, computes } };
  }

  async forget(agentId: string, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await Promise.all([this.#delete(countersKey(agentId)), this.#delete(rateKey(agentId))]);
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
    const waitMs = Number(await this.#take(rateKey(agentId), bucket.intervalUs, bucket.burst));
    return waitMs === 0 ? { allowed: true } : { allowed: false, retryAfterMs: waitMs };
  }
}

function countersKey(agentId: string): string {
  return `quota:${agentId}`;
}

function rateKey(agentId: string): string {
  return `rate:${agentId}`;
}

/** As the scripts take them: one number for each of `RESOURCES`. */
function inOrder(amounts: Amounts): number[] {
  const whole = wholeAmounts(amounts);
  return RESOURCES.map((resource) => whole[resource]);
}
