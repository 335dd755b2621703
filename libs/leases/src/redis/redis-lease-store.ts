import { type AcquireOptions, type FencingToken, fencingToken, type LeaseStore } from '../lease-store';
import { ACQUIRE, LEASE_HOLDER, RELEASE_LEASE, RENEW } from './lease-scripts';
import type { RedisConnection } from './redis-connection';

const UNAVAILABLE = 'lease-store-unavailable';

/** Leases in Redis, for holders anywhere. An evicted lease is a lost one: run the server with `noeviction`. */
export class RedisLeaseStore implements LeaseStore {
  readonly #acquire;
  readonly #renew;
  readonly #release;
  readonly #holder;

  constructor(redis: RedisConnection) {
    this.#acquire = redis.script(ACQUIRE, UNAVAILABLE);
    this.#renew = redis.script(RENEW, UNAVAILABLE);
    this.#release = redis.script(RELEASE_LEASE, UNAVAILABLE);
    this.#holder = redis.script(LEASE_HOLDER, UNAVAILABLE);
  }

  async acquire(
    name: string,
    holder: string,
    ttlMs: number,
    { above = 0, signal }: AcquireOptions = {},
  ): Promise<FencingToken | undefined> {
    signal?.throwIfAborted();
    const token = await this.#acquire(leaseKey(name), holder, ttlMs, above);
    return token === null ? undefined : fencingToken(Number(token));
  }

  async renew(
    name: string,
    holder: string,
    token: FencingToken,
    ttlMs: number,
    signal?: AbortSignal,
  ): Promise<boolean> {
    signal?.throwIfAborted();
    return (await this.#renew(leaseKey(name), holder, token, ttlMs)) === 1;
  }

  async release(name: string, holder: string, token: FencingToken, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await this.#release(leaseKey(name), holder, token);
  }

  async holderOf(name: string, signal?: AbortSignal): Promise<string | undefined> {
    signal?.throwIfAborted();
    return ((await this.#holder(leaseKey(name))) as string | null) ?? undefined;
  }
}

function leaseKey(name: string): string {
  return `lease:${name}`;
}
