import { type HeldLease, LeaseKeeper, type LeaseStore } from '@coppice/leases';
import { BackgroundLoop, type Clock, CoppiceError, type Log, type Random } from '@coppice/service-kit';
import { MAX_PROXY_NUMBER } from './cancel-keys';

/** After its proxy was killed a number is free again, milliseconds. */
const LEASE_MS = 15_000;
const LOOK_EVERY_MS = 1_000;
/** Numbers that are tried in a round: enough unless nearly all are taken. */
const TRIES = 32;

export function leaseNameOf(number: number): string {
  return `compute-proxy-${number}`;
}

/** The address in the name of a lease's holder, which also has to be another one after each start. */
export function addressOf(holder: string): string {
  return holder.slice(0, holder.indexOf(' '));
}

export interface OwnNumberOptions {
  readonly store: LeaseStore;
  /** Where other proxies reach this one. */
  readonly address: string;
  readonly random: Random;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * The number of this proxy among all: a lease that is held while the proxy runs. A lease that is lost is taken again with the same
 * number, for the sake of the sessions whose keys have it; when somebody else has it by then, new sessions get keys with another.
 */
export class OwnNumber {
  readonly #random: Random;
  readonly #keeper: LeaseKeeper;
  readonly #loop: BackgroundLoop;
  #number = 0;
  #lease: HeldLease | undefined;

  constructor({ store, address, random, clock, log }: OwnNumberOptions) {
    this.#random = random;
    const holder = `${address} ${random.bytes(8).toString('hex')}`;
    this.#keeper = new LeaseKeeper({ store, holder, ttlMs: LEASE_MS, log, clock });
    this.#loop = new BackgroundLoop({
      name: 'claim-proxy-number',
      everyMs: LOOK_EVERY_MS,
      log,
      clock,
      run: (signal) => this.#claim(signal),
    });
  }

  /** 0 until there is one. It stays while the lease is lost. */
  get current(): number {
    return this.#number;
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    await this.#keeper.stop();
  }

  async #claim(signal: AbortSignal): Promise<void> {
    if (this.#lease && !this.#lease.ended.aborted) return;
    for (let tries = 0; tries < TRIES; tries += 1) {
      const number = tries === 0 && this.#number > 0 ? this.#number : this.#pick();
      this.#lease = await this.#keeper.acquire(leaseNameOf(number), { signal });
      if (!this.#lease) continue;
      this.#number = number;
      return;
    }
    throw new CoppiceError(
      'Unavailable',
      'no-proxy-number',
      `${TRIES} of ${MAX_PROXY_NUMBER} numbers of proxies were tried, and others have them`,
      { remedy: 'Run fewer proxies on one Redis, or wait until those that were killed have lost theirs.' },
    );
  }

  #pick(): number {
    return 1 + Math.floor(this.#random.unit() * MAX_PROXY_NUMBER);
  }
}
