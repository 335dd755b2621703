import { type Clock, Counter, type Log, systemClock } from '@coppice/service-kit';
import type { AcquireOptions, FencingToken, LeaseStore } from './lease-store';

const lostLeases = new Counter({
  name: 'coppice_leases_lost_total',
  help: 'Leases that ended while their holder still wanted them.',
});

/** A lease is renewed three times within its time, and a failed renewal tried again ten times as often. */
const RENEWALS_PER_TTL = 3;
const RETRIES_PER_TTL = 30;

export interface HeldLease {
  readonly name: string;
  readonly token: FencingToken;
  /** Fires when the lease is lost or released: stop what it allows. */
  readonly ended: AbortSignal;
  /** Ends the lease. Never fails: a store that cannot be told lets it run out. */
  release(): Promise<void>;
}

export interface LeaseKeeperOptions {
  readonly store: LeaseStore;
  /** Unique per process and start. */
  readonly holder: string;
  readonly ttlMs: number;
  readonly log: Log;
  readonly clock?: Clock;
}

/**
 * Holds leases for as long as they are wanted. Each is renewed at a third of its time; the holder is told that it is lost
 * when the store says so, or when its time, counted from before the last renewal that succeeded was sent, has passed here.
 */
export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  readonly #held = new Map<string, KeptLease>();
  /** Names with an acquisition under way. */
  readonly #acquiring = new Set<string>();

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
  }

  /** The lease, or `undefined` while somebody has it, be it another task of this process. */
  async acquire(name: string, options: AcquireOptions = {}): Promise<HeldLease | undefined> {
    if (this.#held.has(name) || this.#acquiring.has(name)) return undefined;
    const { store, holder, ttlMs, clock = systemClock } = this.#options;
    this.#acquiring.add(name);
    try {
      const sentAt = clock.monotonic();
      const token = await store.acquire(name, holder, ttlMs, options);
      if (token === undefined) return undefined;
      const lease = new KeptLease(name, token, sentAt + ttlMs, this.#options, () => this.#held.delete(name));
      this.#held.set(name, lease);
      lease.keep();
      return lease;
    } finally {
      this.#acquiring.delete(name);
    }
  }

  /** Releases everything that is held. */
  async stop(): Promise<void> {
    await Promise.all([...this.#held.values()].map((lease) => lease.release()));
  }
}

class KeptLease implements HeldLease {
  readonly name: string;
  readonly token: FencingToken;
  readonly #options: LeaseKeeperOptions;
  readonly #clock: Clock;
  readonly #onEnd: () => void;
  readonly #ended = new AbortController();
  #untilMs: number;

  constructor(
    name: string,
    token: FencingToken,
    untilMs: number,
    options: LeaseKeeperOptions,
    onEnd: () => void,
  ) {
    this.name = name;
    this.token = token;
    this.#untilMs = untilMs;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#onEnd = onEnd;
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  keep(): void {
    void this.#renewals();
    void this.#watch();
  }

  async release(): Promise<void> {
    if (!this.#end()) return;
    const { store, holder, log } = this.#options;
    await store.release(this.name, holder, this.token).catch((error: unknown) => {
      log.warn({ err: error, lease: this.name }, 'lease is not released, it runs out');
    });
  }

  async #renewals(): Promise<void> {
    const { store, holder, ttlMs, log } = this.#options;
    let pauseMs = ttlMs / RENEWALS_PER_TTL;
    while (await this.#slept(pauseMs)) {
      const sentAt = this.#clock.monotonic();
      try {
        if (!(await store.renew(this.name, holder, this.token, ttlMs)))
          return this.#lose('somebody else has it');
        this.#untilMs = Math.max(this.#untilMs, sentAt + ttlMs);
        pauseMs = ttlMs / RENEWALS_PER_TTL;
      } catch (error) {
        pauseMs = ttlMs / RETRIES_PER_TTL;
        if (!this.ended.aborted)
          log.warn({ err: error, lease: this.name }, 'lease is not renewed, tries again');
      }
    }
  }

  /** Ends the lease at its time even when a renewal hangs. */
  async #watch(): Promise<void> {
    while (await this.#slept(this.#untilMs - this.#clock.monotonic()))
      if (this.#clock.monotonic() >= this.#untilMs) return this.#lose('its time has passed');
  }

  /** `false` when the lease ended meanwhile. */
  async #slept(ms: number): Promise<boolean> {
    await this.#clock.sleep(Math.max(0, ms), this.ended).catch(() => undefined);
    return !this.ended.aborted;
  }

  #lose(why: string): void {
    if (!this.#end()) return;
    lostLeases.inc();
    this.#options.log.warn({ lease: this.name, token: this.token, why }, 'lease is lost');
  }

  #end(): boolean {
    if (this.ended.aborted) return false;
    this.#onEnd();
    this.#ended.abort();
    return true;
  }
}
