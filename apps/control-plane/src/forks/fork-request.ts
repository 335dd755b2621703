/** Where a request asks to go: its fields, checked. Pure. */
import { CoppiceError } from '@coppice/service-kit';
import type { Lsn } from '@coppice/vocabulary';

/** At most one is set; none stands for the head. */
export interface ForkRequest {
  readonly lsn: Lsn | undefined;
  readonly unixMicros: bigint | undefined;
  /** Id or name of a checkpoint of the branch. */
  readonly checkpoint?: string | undefined;
}

/** Throws `two-fork-points` when more than one of them is given. `names` are those of the request's fields. */
export function forkRequest(
  given: { readonly lsn: Lsn | undefined; readonly unixMicros: number; readonly checkpoint?: string },
  names: { readonly lsn: string; readonly time: string; readonly checkpoint?: string },
): ForkRequest {
  const { lsn, unixMicros, checkpoint = '' } = given;
  const set = [
    lsn === undefined ? undefined : names.lsn,
    unixMicros === 0 ? undefined : names.time,
    checkpoint === '' ? undefined : names.checkpoint,
  ].filter((n) => n !== undefined);
  if (set.length > 1)
    throw new CoppiceError('Invalid', 'two-fork-points', `both ${set.join(' and ')} are given`, {
      remedy: 'Give one of them.',
    });
  return {
    lsn,
    unixMicros: unixMicros === 0 ? undefined : BigInt(unixMicros),
    checkpoint: checkpoint === '' ? undefined : checkpoint,
  };
}

/** The time of a request, to the millisecond, if it goes by time. */
export function requestedTime({ unixMicros }: ForkRequest): Date | undefined {
  return unixMicros === undefined ? undefined : new Date(Number(unixMicros / 1000n));
}

/** Whether what is asked for may differ from what the branch is now. */
export function isInPast({ lsn, unixMicros, checkpoint }: ForkRequest): boolean {
  return lsn !== undefined || unixMicros !== undefined || checkpoint !== undefined;
}
