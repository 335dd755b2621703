/**
 * A token bucket kept as one number, the time at which it will be full again (as in the generic cell rate algorithm): a
 * request moves that time on by one interval, and is refused when it would lie more than a whole bucket ahead. All times are
 * whole microseconds, so that the script in Redis and this code agree exactly.
 */
export interface Bucket {
  /** Time in which one token flows in. */
  readonly intervalUs: number;
  /** Tokens in a full bucket. */
  readonly burst: number;
}

export type Taken =
  | { readonly allowed: true; readonly fullAtUs: number }
  | { readonly allowed: false; readonly retryAfterMs: number };

/** What a caller is told to wait when no request is allowed at all. */
export const NEVER_RETRY_AFTER_MS = 60_000;

/** The bucket of a rate; `undefined` when the rate allows nothing. A burst is at least one request. */
export function bucketOf(ratePerSecond: number, burst: number): Bucket | undefined {
  if (!(ratePerSecond > 0)) return undefined;
  return {
    intervalUs: Math.max(1, Math.round(1_000_000 / ratePerSecond)),
    burst: Math.max(1, Math.floor(burst)),
  };
}

/** Takes one token. A bucket not seen before is full: `fullAtUs` is 0. */
export function takeToken(bucket: Bucket, fullAtUs: number, nowUs: number): Taken {
  const depthUs = bucket.intervalUs * bucket.burst;
  // A clock that was set back must not lock anybody out for longer than an empty bucket does.
  const from = Math.min(Math.max(fullAtUs, nowUs), nowUs + depthUs);
  const next = from + bucket.intervalUs;
  const waitUs = next - nowUs - depthUs;
  if (waitUs > 0) return { allowed: false, retryAfterMs: Math.ceil(waitUs / 1000) };
  return { allowed: true, fullAtUs: next };
}
