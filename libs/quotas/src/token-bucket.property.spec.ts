import fc from 'fast-check';
import { bucketOf, takeToken } from './token-bucket';

/** A bucket as one would draw it: a number of tokens that grows with time. */
class DrawnBucket {
  #tokens: number;
  #atUs = 0;
  constructor(
    readonly intervalUs: number,
    readonly burst: number,
  ) {
    this.#tokens = burst * intervalUs;
  }
  take(nowUs: number): boolean {
    this.#tokens = Math.min(this.burst * this.intervalUs, this.#tokens + nowUs - this.#atUs);
    this.#atUs = nowUs;
    if (this.#tokens < this.intervalUs) return false;
    this.#tokens -= this.intervalUs;
    return true;
  }
}

const buckets = fc.record({
  rate: fc.double({ min: 0.1, max: 1e6, noNaN: true }),
  burst: fc.integer({ min: 1, max: 50 }),
});

it('allows exactly what a bucket of tokens allows', () => {
  fc.assert(
    fc.property(
      buckets,
      fc.array(fc.integer({ min: 0, max: 3_000_000 }), { maxLength: 200 }),
      ({ rate, burst }, steps) => {
        const bucket = bucketOf(rate, burst)!;
        const drawn = new DrawnBucket(bucket.intervalUs, bucket.burst);
        let [nowUs, fullAtUs] = [1_000, 0];
        for (const step of steps) {
          nowUs += step;
          const taken = takeToken(bucket, fullAtUs, nowUs);
          expect(taken.allowed).toBe(drawn.take(nowUs));
          if (taken.allowed) fullAtUs = taken.fullAtUs;
        }
      },
    ),
  );
});

it('is allowed after the wait that was told, and the wait is never longer than one interval', () => {
  fc.assert(
    fc.property(buckets, fc.nat(10_000_000), ({ rate, burst }, nowUs) => {
      const bucket = bucketOf(rate, burst)!;
      let fullAtUs = 0;
      for (let i = 0; i < bucket.burst; i++) {
        const taken = takeToken(bucket, fullAtUs, nowUs);
        if (taken.allowed) fullAtUs = taken.fullAtUs;
      }
      const refused = takeToken(bucket, fullAtUs, nowUs);
      if (refused.allowed) throw new Error('a drained bucket gave a token');
      expect(refused.retryAfterMs).toBeLessThanOrEqual(Math.ceil(bucket.intervalUs / 1000));
      expect(takeToken(bucket, fullAtUs, nowUs + refused.retryAfterMs * 1000).allowed).toBe(true);
    }),
  );
});

it('a clock that was set back locks nobody out for longer than one interval', () => {
  const bucket = bucketOf(10, 5)!;
  expect(takeToken(bucket, 3_600_000_000, 1_000)).toEqual({ allowed: false, retryAfterMs: 100 });
});

it.each([0, -1, Number.NaN])('a rate of %p allows nothing', (rate) =>
  expect(bucketOf(rate, 5)).toBeUndefined(),
);
