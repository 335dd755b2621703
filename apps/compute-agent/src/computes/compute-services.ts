import type { Membership } from '@coppice/consensus';
import type { Clock, Log, Random, Semaphore } from '@coppice/service-kit';
import type { NodeId } from '@coppice/vocabulary';
import type { PageserverClient } from '../pageserver/pages-stream';
import type { WarmSets } from '../pageserver/warm-sets';
import type { Installation } from '../postgres/installation';
import type { Launch } from '../postgres/launch';
import type { ServerUsers } from '../postgres/server-users';
import type { ComputeResources } from '../resources/compute-resources';
import type { Scaler } from '../scaling/scaler';
import type { SafekeeperClient } from '../wal/grpc-safekeeper';
import type { Trash } from './trash';

/** What every compute of this agent is made with. */
export interface ComputeServices {
  readonly computesDirectory: string;
  readonly installation: Installation;
  /** Path of the preloaded library. */
  readonly interposer: string;
  readonly launch: Launch;
  readonly users: ServerUsers;
  readonly trash: Trash;
  readonly resources: ComputeResources;
  readonly scaler: Scaler;
  readonly membership: Membership;
  /** The storage services, each to be asked in the name of a compute, with its token. */
  readonly safekeepers: readonly { readonly node: NodeId; readonly client: SafekeeperClient }[];
  readonly pageserver: PageserverClient;
  /** Of starts. */
  readonly warm: WarmSets;
  /** Of first looks. */
  readonly looks: WarmSets;
  /** Starts that may be under way at once. */
  readonly starts: Semaphore;
  /** First looks that nobody asked for. */
  readonly firstLooks: Semaphore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly limits: ComputeLimits;
}

export interface ComputeLimits {
  /** WAL that may be acknowledged beyond what the pageserver has ingested, bytes. */
  readonly maxPageserverLagBytes: number;
  readonly startDeadlineMs: number;
  readonly suspendDeadlineMs: number;
  /** For how long a suspend lets transactions end. */
  readonly drainMs: number;
  readonly activityEveryMs: number;
}
