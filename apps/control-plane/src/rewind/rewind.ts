import { Checkpoints, type CheckpointServices } from './checkpoints';
import { RestoreBranch } from './restore-branch';
import { RestoreInPlace, type RestoreInPlaceServices } from './restore-in-place';
import { RestoreSnapshot, type RestoreSnapshotServices } from './restore-snapshot';
import { Snapshots } from './snapshots';

export type RewindServices = CheckpointServices &
  RestoreInPlaceServices &
  Omit<RestoreSnapshotServices, 'inPlace' | 'snapshots'>;

/** All that goes back in time, put together. */
export interface Rewind {
  readonly branch: RestoreBranch;
  readonly checkpoints: Checkpoints;
  readonly snapshots: Snapshots;
  readonly snapshot: RestoreSnapshot;
}

export function buildRewind(services: RewindServices): Rewind {
  const inPlace = new RestoreInPlace(services);
  const snapshots = new Snapshots(services);
  return {
    branch: new RestoreBranch({ ...services, inPlace }),
    checkpoints: new Checkpoints(services),
    snapshots,
    snapshot: new RestoreSnapshot({ ...services, inPlace, snapshots }),
  };
}
