import type { Clock } from '@coppice/service-kit';
import { CoppiceError } from '@coppice/service-kit';
import type { Leadership, Walproposer } from './walproposer';

/** A dead proposer may have left a higher term with a minority; each attempt starts above every term that answered. */
const ATTEMPTS = 5;
const PAUSE_MS = 20;

/** Wins a term, with a new proposer for each attempt. Rejects with `Fenced` when others keep winning. */
export async function electWalproposer(
  make: () => Walproposer,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<{ readonly walproposer: Walproposer; readonly leadership: Leadership }> {
  for (let attempt = 1; ; attempt++) {
    const walproposer = make();
    try {
      return { walproposer, leadership: await walproposer.elect(signal) };
    } catch (error) {
      const beaten = error instanceof CoppiceError && error.kind === 'Fenced';
      if (!beaten || attempt === ATTEMPTS) throw error;
      await clock.sleep(PAUSE_MS * attempt, signal);
    }
  }
}
