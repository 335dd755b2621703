import { CoppiceError, withDeadline } from '@coppice/service-kit';
import type { LsnNumber } from '@coppice/vocabulary';
import { formatLsn } from '@coppice/vocabulary';
import { recordEnd } from '../storage/record-end';
import type { Timeline } from '../storage/timeline';

/** Makes ingest bring a timeline to a position, if it does not already. */
export type WantLsn = (timeline: Timeline, lsn: LsnNumber) => void;

export interface WaitOptions {
  readonly want: WantLsn;
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Resolves once everything at or below `lsn` can be read, on the timeline and on the ancestors that it reads through. */
export async function waitForLsn(timeline: Timeline, lsn: LsnNumber, { want, deadlineMs, signal }: WaitOptions): Promise<void> {
  let deadline: AbortSignal | undefined;
  let wanted = lsn;
  for (let at: Timeline | undefined = timeline; at !== undefined; ) {
    const { ancestor, ingested }: Timeline = at;
    const own = recordEnd(wanted);
    if (ingested.value < own) {
      want(at, own);
      deadline ??= withDeadline(deadlineMs, signal);
      await ingested.waitFor(own, deadline).catch((error: unknown) => {
        if (signal?.aborted) throw signal.reason;
        if (error instanceof CoppiceError) throw error;
        throw new CoppiceError('NotYet', 'lsn-not-ingested', `${formatLsn(own)} of timeline ${at!.id} is not ingested, ${formatLsn(ingested.value)} is`, {
          cause: error,
          remedy: 'Try again; if it stays so, check the safekeepers and the pageserver log.',
        });
      });
    }
    if (!ancestor) return;
    wanted = Math.min(wanted, ancestor.lsn);
    at = ancestor.timeline;
  }
}
