/**
 * Requests to cancel that came to another proxy than the one that serves the session, as they do behind a load balancer. Redis has
 * one lease for each proxy, from its number to its address; the rest is one call to that address. What a stranger can cause by
 * guessing keys is bounded: so many requests an address, so many under way, and a look in Redis for each number once in a while.
 */
import { type Client, computeProxyContract, connect, type ClientSecurity } from '@coppice/contracts';
import type { LeaseStore } from '@coppice/leases';
import {
  type Clock,
  Counter,
  type Log,
  part,
  type Part,
  type Random,
  Semaphore,
  withDeadline,
} from '@coppice/service-kit';
import type { LoginLimits } from '../limits/login-limits';
import type { CancelKey, OtherProxies } from './cancel-keys';
import { addressOf, leaseNameOf, OwnNumber } from './own-number';

const passedOn = new Counter({
  name: 'coppice_proxy_cancels_passed_on_total',
  help: 'Requests to cancel for sessions of other proxies, by what became of them.',
  labelNames: ['outcome'],
});

/** For all of it, milliseconds. */
const CANCEL_MS = 5_000;
const UNDER_WAY = 16;
const MAX_WAITING = 256;
/** For so long the address of a number is taken to be right, also when there is none, milliseconds. */
const REMEMBER_MS = 3_000;
/** Channels that are kept; more than can be in use at once. */
const MAX_CHANNELS = 64;

export interface OpenLeases {
  readonly store: LeaseStore;
  readonly close: () => void;
}

export interface PeerProxiesOptions {
  /** Called once, at the start. */
  readonly openLeases: () => Promise<OpenLeases>;
  /** Where other proxies reach this one: `unix:/path` or `host:port`. */
  readonly address: string;
  readonly security: ClientSecurity;
  readonly limits: Pick<LoginLimits, 'passOn'>;
  readonly random: Random;
  readonly clock: Clock;
  readonly log: Log;
}

type Peer = Client<typeof computeProxyContract.methods>;

interface Known {
  readonly address: Promise<string | undefined>;
  readonly untilMs: number;
}

export class PeerProxies implements OtherProxies {
  readonly #o: PeerProxiesOptions;
  readonly #turns = new Semaphore(UNDER_WAY, MAX_WAITING);
  /** By number. */
  readonly #known = new Map<number, Known>();
  /** By address, the one used last comes last. */
  readonly #channels = new Map<string, Peer>();
  #leases: OpenLeases | undefined;
  #own: OwnNumber | undefined;

  constructor(options: PeerProxiesOptions) {
    this.#o = options;
  }

  get ownNumber(): number {
    return this.#own?.current ?? 0;
  }

  async cancel(number: number, key: CancelKey, from: string): Promise<void> {
    if (!this.#o.limits.passOn(from)) return passedOn.inc({ outcome: 'too-many' });
    const signal = withDeadline(CANCEL_MS);
    try {
      const outcome = await this.#turns.run(() => this.#passOn(number, key, signal), signal);
      passedOn.inc({ outcome });
    } catch (error) {
      passedOn.inc({ outcome: 'failed' });
      this.#o.log.debug({ err: error, proxy: number }, 'a request to cancel is not passed on');
    }
  }

  async #passOn(
    number: number,
    { pid, secret }: CancelKey,
    signal: AbortSignal,
  ): Promise<'found' | 'unknown'> {
    const address = await this.#addressOf(number);
    if (address === undefined) return 'unknown';
    const { found } = await this.#channel(address).cancel({ pid, secret }, { signal });
    return found ? 'found' : 'unknown';
  }

  #addressOf(number: number): Promise<string | undefined> {
    const now = this.#o.clock.monotonic();
    const known = this.#known.get(number);
    if (known && known.untilMs > now) return known.address;
    const address = this.#lookUp(number);
    const fresh = { address, untilMs: now + REMEMBER_MS };
    this.#known.set(number, fresh);
    address.catch(() => {
      if (this.#known.get(number) === fresh) this.#known.delete(number);
    });
    return address;
  }

  async #lookUp(number: number): Promise<string | undefined> {
    const holder = await this.#leases?.store.holderOf(leaseNameOf(number));
    return holder === undefined ? undefined : addressOf(holder);
  }

  #channel(address: string): Peer {
    const channel =
      this.#channels.get(address) ?? connect(computeProxyContract, { address, security: this.#o.security });
    this.#channels.delete(address);
    this.#channels.set(address, channel);
    if (this.#channels.size > MAX_CHANNELS) {
      const [oldest, unused] = this.#channels.entries().next().value!;
      this.#channels.delete(oldest);
      unused.close();
    }
    return channel;
  }

  /** Claims a number on start; goes on without one while Redis is away. */
  asPart(): Part {
    return part(
      'peer proxies',
      async () => {
        this.#leases = await this.#o.openLeases();
        this.#own = new OwnNumber({ ...this.#o, store: this.#leases.store });
        this.#own.start();
      },
      async () => {
        await this.#own?.stop();
        this.#leases?.close();
        for (const channel of this.#channels.values()) channel.close();
      },
    );
  }
}
