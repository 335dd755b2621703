import { setTimeout as sleep } from 'node:timers/promises';
import { anySignal } from './any-signal';

/** Time as a port: production uses `systemClock`, simulations a virtual one. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Milliseconds of a clock that never jumps; for measuring. */
  monotonic(): number;
  /** Resolves after `ms`; rejects with `AbortError` when the signal fires first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, signal) => sleep(ms, undefined, signal ? { signal } : undefined),
};

/** Calls `run` once after `ms`; the returned function cancels it. Does not keep the process alive. */
export function after(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, ms);
  timer.unref();
  return () => clearTimeout(timer);
}

/** A signal that fires when `signal` does or after `ms`, whichever is first. */
export function withDeadline(ms: number, signal?: AbortSignal): AbortSignal {
  const deadline = AbortSignal.timeout(ms);
  return signal ? anySignal([signal, deadline]) : deadline;
}
