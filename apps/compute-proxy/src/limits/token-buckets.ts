import { type Bucket, takeToken } from '@coppice/quotas';
import type { Clock } from '@coppice/service-kit';

export interface TokenBucketsOptions {
  readonly bucket: Bucket;
  /** Past it the one touched longest ago is forgotten, which makes it full again. */
  readonly most: number;
  readonly clock: Clock;
}

/** Buckets of tokens by name, all alike; those that are full take no memory for long. */
export class TokenBuckets {
  readonly #o: TokenBucketsOptions;
  /** When each is full again, microseconds; the one touched longest ago first. */
  readonly #fullAtUs = new Map<string, number>();

  constructor(options: TokenBucketsOptions) {
    this.#o = options;
  }

  /** Takes a token and gives 0; else, without one, the milliseconds until there is one. */
  take(name: string): number {
    const taken = takeToken(this.#o.bucket, this.#fullAtUs.get(name) ?? 0, this.#nowUs());
    if (!taken.allowed) return taken.retryAfterMs;
    this.#set(name, taken.fullAtUs);
    return 0;
  }

  giveBack(name: string): void {
    this.#set(name, (this.#fullAtUs.get(name) ?? 0) - this.#o.bucket.intervalUs);
  }

  #set(name: string, fullAtUs: number): void {
    this.#fullAtUs.delete(name);
    if (fullAtUs > this.#nowUs()) this.#fullAtUs.set(name, fullAtUs);
    if (this.#fullAtUs.size > this.#o.most) this.#fullAtUs.delete(this.#fullAtUs.keys().next().value!);
  }

  #nowUs(): number {
    return Math.trunc(this.#o.clock.monotonic() * 1000);
  }
}
