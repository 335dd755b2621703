/** Everything that the reaper ends, as the control-plane offers it. */
import type { Client, controlInternalContract } from '@coppice/contracts';
import type { Sweepable } from './sweep';

export type InternalClient = Client<(typeof controlInternalContract)['methods']>;

/** Kinds whose due rows the control-plane finds in the metadata. */
export const METADATA_KINDS = [
  'expired-branch',
  'deleted-branch',
  'deleted-project',
  'deleted-timeline',
  'expired-credential',
  'expired-checkpoint',
] as const;

/** Running computes that nobody has used for as long as their endpoints allow. */
export function idleComputes(control: Pick<InternalClient, 'suspendIdle'>): Sweepable {
  return {
    kind: 'idle-compute',
    look: async (signal) => {
      const { due, running } = await control.suspendIdle({ limit: 1, dryRun: true }, { signal });
      return { due, population: running };
    },
    end: async (limit, dryRun, signal) => {
      const { computes } = await control.suspendIdle({ limit, dryRun }, { signal });
      return computes.map((c) => ({
        id: c.computeId,
        why: `endpoint ${c.endpointId} was not used for ${Math.round(c.idleMs / 1000)} s`,
        done: c.suspended,
        failure: c.failure,
      }));
    },
  };
}

/** What is due by a time in the metadata. */
export function dueInMetadata(
  control: Pick<InternalClient, 'sweep'>,
  kind: (typeof METADATA_KINDS)[number],
): Sweepable {
  return {
    kind,
    look: (signal) => control.sweep({ kind, limit: 0, dryRun: true }, { signal }),
    end: async (limit, dryRun, signal) => (await control.sweep({ kind, limit, dryRun }, { signal })).items,
  };
}

/** Objects that no manifest refers to. Finding them is the work, so nothing is looked up before. */
export function orphanedObjects(control: Pick<InternalClient, 'sweep'>, perSweep: number): Sweepable {
  const kind = 'orphaned-object';
  return {
    kind,
    look: async () => ({ due: perSweep, population: 0 }),
    end: async (limit, dryRun, signal) => (await control.sweep({ kind, limit, dryRun }, { signal })).items,
  };
}
