/** Whether and when a call is made again: a pure decision. */
import type { CoppiceError } from '@coppice/service-kit';
import type { Repeat } from './repeats';

export interface RetryPolicy {
  /** Calls made at most, the first one included. */
  readonly attempts: number;
  /** The first pause is random up to this, and each later one up to twice the one before. */
  readonly baseMs: number;
  readonly maxMs: number;
}

export const DEFAULT_RETRIES: RetryPolicy = { attempts: 5, baseMs: 100, maxMs: 5_000 };

export interface Failure {
  readonly error: CoppiceError;
  /** Calls made so far. */
  readonly made: number;
  readonly repeat: Repeat;
  /** Until the call as a whole must be over. */
  readonly leftMs: number;
  /** In [0, 1). */
  readonly chance: number;
}

/** Errors by which the server says that it did nothing. */
const NOTHING_DONE: ReadonlySet<string> = new Set(['Locked', 'NotYet']);

/** Milliseconds to wait before the next call; `undefined` when there is to be none. */
export function pauseBeforeRetry(policy: RetryPolicy, f: Failure): number | undefined {
  if (!f.error.retryable || f.made >= policy.attempts) return undefined;
  if (f.repeat === 'refused' && !NOTHING_DONE.has(f.error.kind)) return undefined;
  const most = Math.min(policy.maxMs, policy.baseMs * 2 ** (f.made - 1));
  const pause = Math.floor(f.chance * most);
  return pause < f.leftMs ? pause : undefined;
}
