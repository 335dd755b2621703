/**
 * How often somebody may guess a password: a bucket of tokens for each address, endpoint and role. A guess that was right gives its
 * token back, so that only wrong ones count.
 */
import { bucketOf } from '@coppice/quotas';
import { type Clock, CoppiceError, Counter } from '@coppice/service-kit';
import { TokenBuckets } from './token-buckets';

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
  readonly #buckets: TokenBuckets;

  constructor({ perSecond, burst, clock }: GuessLimitOptions) {
    const bucket = bucketOf(perSecond, burst);
    if (!bucket) throw new RangeError(`${perSecond} guesses a second allow none`);
    this.#buckets = new TokenBuckets({ bucket, most: MAX_GUESSERS, clock });
  }

  /** Takes one guess; the answer gives it back. Throws when there is none left. */
  take(who: string): () => void {
    const retryAfterMs = this.#buckets.take(who);
    if (retryAfterMs > 0) {
      refusals.inc();
      throw new CoppiceError('QuotaExceeded', 'too-many-wrong-passwords', 'too many wrong passwords', {
        remedy: `Try again in ${Math.ceil(retryAfterMs / 1000)} s.`,
      });
    }
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.#buckets.giveBack(who);
    };
  }
}
