/**
 * How often somebody may guess a password: a bucket of tokens for each address, endpoint and role. A guess that was right gives its
 * token back, so that only wrong ones count.
 */
import { type Bucket, bucketOf, takeToken } from '@coppice/quotas';
import { type Clock, CoppiceError, Counter } from '@coppice/service-kit';

const refusals = new Counter({
  name: 'coppice_proxy_refused_guesses_total',
  help: 'Logins that were refused unseen because too many before were wrong.',
});

export interface GuessLimitOptions {
  readonly perSecond: number;
  readonly burst: number;
  readonly clock: Clock;
}

/** Those who guessed wrong of late; past it the one longest ago is forgotten. */
const MAX_GUESSERS = 10_000;

export class GuessLimit {
  readonly #bucket: Bucket;
  readonly #clock: Clock;
  /** Microseconds at which each bucket is full again, the one that was touched longest ago first. */
  readonly #fullAtUs = new Map<string, number>();

  constructor({ perSecond, burst, clock }: GuessLimitOptions) {
    const bucket = bucketOf(perSecond, burst);
    if (!bucket) throw new RangeError(`${perSecond} guesses a second allow none`);
    this.#bucket = bucket;
    this.#clock = clock;
  }

  /** Takes one guess; the answer gives it back. Throws when there is none left. */
  take(who: string): () => void {
    const taken = takeToken(this.#bucket, this.#fullAtUs.get(who) ?? 0, this.#nowUs());
    if (!taken.allowed) {
      refusals.inc();
      throw new CoppiceError('QuotaExceeded', 'too-many-wrong-passwords', 'too many wrong passwords', {
        remedy: `Try again in ${Math.ceil(taken.retryAfterMs / 1000)} s.`,
      });
    }
    this.#set(who, taken.fullAtUs);
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.#set(who, (this.#fullAtUs.get(who) ?? 0) - this.#bucket.intervalUs);
    };
  }

  #set(who: string, fullAtUs: number): void {
    this.#fullAtUs.delete(who);
    if (fullAtUs > this.#nowUs()) this.#fullAtUs.set(who, fullAtUs);
    if (this.#fullAtUs.size <= MAX_GUESSERS) return;
    const [oldest] = this.#fullAtUs.keys();
    this.#fullAtUs.delete(oldest!);
  }

  #nowUs(): number {
    return Math.round(this.#clock.now() * 1000);
  }
}
