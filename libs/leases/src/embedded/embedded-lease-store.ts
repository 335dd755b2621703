import { type Clock, systemClock } from '@coppice/service-kit';
import { type AcquireOptions, type FencingToken, type LeaseStore, TOKEN_MEMORY_MS } from '../lease-store';

interface Lease {
  /** `undefined` when it was released. */
  readonly holder: string | undefined;
  readonly token: FencingToken;
  readonly untilMs: number;
}

/** Names looked at for removal with each acquisition: more than one, so that the map shrinks while it is used. */
const PRUNED_PER_ACQUIRE = 4;

/** Leases in this process: for holders within one process. They are lost with it, as are their holders. */
export class EmbeddedLeaseStore implements LeaseStore {
  readonly #clock: Clock;
  readonly #leases = new Map<string, Lease>();

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  async acquire(
    name: string,
    holder: string,
    ttlMs: number,
    { above = 0, signal }: AcquireOptions = {},
  ): Promise<FencingToken | undefined> {
    signal?.throwIfAborted();
    const now = this.#clock.now();
    this.#prune(now);
    const last = this.#leases.get(name);
    if (last && last.holder !== undefined && last.holder !== holder && last.untilMs > now) return undefined;
    const token = Math.max((last?.token ?? 0) + 1, Math.floor(now * 1000), above + 1) as FencingToken;
    this.#put(name, { holder, token, untilMs: now + ttlMs });
    return token;
  }

  async renew(
    name: string,
    holder: string,
    token: FencingToken,
    ttlMs: number,
    signal?: AbortSignal,
  ): Promise<boolean> {
    signal?.throwIfAborted();
    const now = this.#clock.now();
    if (!this.#isHeld(name, holder, token, now)) return false;
    this.#put(name, { holder, token, untilMs: now + ttlMs });
    return true;
  }

  async release(name: string, holder: string, token: FencingToken, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const now = this.#clock.now();
    if (this.#isHeld(name, holder, token, now)) this.#put(name, { holder: undefined, token, untilMs: now });
  }

  async holderOf(name: string, signal?: AbortSignal): Promise<string | undefined> {
    signal?.throwIfAborted();
    const lease = this.#leases.get(name);
    return lease && lease.untilMs > this.#clock.now() ? lease.holder : undefined;
  }

  #isHeld(name: string, holder: string, token: FencingToken, now: number): boolean {
    const lease = this.#leases.get(name);
    return lease?.holder === holder && lease.token === token && lease.untilMs > now;
  }

  /** Puts the name last in the order of the map, which is thereby that of the last touch. */
  #put(name: string, lease: Lease): void {
    this.#leases.delete(name);
    this.#leases.set(name, lease);
  }

  #prune(now: number): void {
    let looked = 0;
    for (const [name, lease] of this.#leases) {
      if (looked++ >= PRUNED_PER_ACQUIRE || lease.untilMs + TOKEN_MEMORY_MS > now) return;
      this.#leases.delete(name);
    }
  }
}
