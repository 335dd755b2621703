import { asCoppiceError, type Clock, withDeadline } from '@coppice/service-kit';

const AGAIN_MS = 100;

export interface HeldCall {
  readonly clock: Clock;
  /** Waited for in all, milliseconds. */
  readonly forMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Asks the control-plane on behalf of a client that is held: while nobody is there to answer (it restarts, or another one takes
 * over) the client waits, and is refused only when that lasts. What is asked must do no harm when it is asked twice.
 */
export async function held<T>(
  { clock, forMs, signal }: HeldCall,
  ask: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const until = clock.monotonic() + forMs;
  const bounded = withDeadline(forMs, signal);
  for (;;) {
    try {
      return await ask(bounded);
    } catch (error) {
      const passing = asCoppiceError(error).code === 'peer-unavailable';
      if (!passing || clock.monotonic() + AGAIN_MS >= until) throw error;
      await clock.sleep(AGAIN_MS, bounded).catch(() => bounded.throwIfAborted());
    }
  }
}
