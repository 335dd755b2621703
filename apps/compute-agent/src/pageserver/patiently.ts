import { asCoppiceError, type Clock, type Log } from '@coppice/service-kit';

const FIRST_BACKOFF_MS = 20;
const LONGEST_BACKOFF_MS = 1_000;

/** Asks again, with back-off, as long as the failure is one that passes: a pageserver that restarts delays a read. */
export async function patiently<T>(
  ask: () => Promise<T>,
  { clock, log, signal }: { readonly clock: Clock; readonly log: Log; readonly signal: AbortSignal },
): Promise<T> {
  for (let backoffMs = FIRST_BACKOFF_MS; ; backoffMs = Math.min(LONGEST_BACKOFF_MS, backoffMs * 2)) {
    try {
      return await ask();
    } catch (error) {
      if (signal.aborted || !asCoppiceError(error).retryable) throw error;
      log.warn({ err: error, backoffMs }, 'a read from the pageserver fails, is asked again');
      await clock.sleep(backoffMs, signal);
    }
  }
}
