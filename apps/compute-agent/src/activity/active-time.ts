/**
 * How long a compute was used, from looks at it that are seconds apart. PostgreSQL adds the time of a session's queries and
 * open transactions to its statistics when the transaction ends; what is still open at a look is taken from the session's
 * own start, and left out later when the statistics have it, too; a session that idles then tells them within 10 s. Sessions
 * that work at the same time count once each, but no more than the time between two looks counts altogether:
 * it may be less than what a compute was used for by a little, and is not more. Only one that ends before its first look counts
 * as used all the time.
 */
export interface ActiveTime {
  readonly totalMs: number;
  /** When the last look was, Unix milliseconds. */
  readonly at: number;
  /** What the statistics said then. */
  readonly sessionMs: number;
  /** Counted already, while the statistics did not have it yet. */
  readonly aheadMs: number;
}

export interface ActiveTimeSample {
  /** Sum over all sessions since the server started. */
  readonly sessionMs: number;
  /** Of queries and transactions that are open, as far as it lies after the last look; summed over sessions. */
  readonly openMs: number;
  /** Sessions' time in the statistics that was the agent's own since the last look. */
  readonly ownMs: number;
}

/** Nothing yet, at the start of the server. */
export function noActiveTime(now: number): ActiveTime {
  return { totalMs: 0, at: now, sessionMs: 0, aheadMs: 0 };
}

/** As of a look at `now`. */
export function activeTime(
  before: ActiveTime,
  { sessionMs, openMs, ownMs }: ActiveTimeSample,
  now: number,
): ActiveTime {
  const elapsed = Math.max(0, now - before.at);
  const finished = Math.max(0, sessionMs - before.sessionMs - ownMs);
  const fresh = Math.max(0, finished - before.aheadMs);
  return {
    totalMs: before.totalMs + Math.min(elapsed, fresh + openMs),
    at: now,
    sessionMs,
    aheadMs: Math.max(0, before.aheadMs - finished) + openMs,
  };
}
