import { CoppiceError } from '@coppice/service-kit';
import { formatLsn, type Lsn } from '@coppice/vocabulary';
import { ReplicationClient, type ReplicationTarget } from '../replication/replication-client';
import type { Walproposer } from './walproposer';

/**
 * Joins a running PostgreSQL to its walproposer: its WAL from `at` on goes to the quorum. Resolves once the stream runs;
 * acknowledging is the caller's. Rejects when this is not the cluster that was elected for.
 */
export async function replicate(
  { target, walproposer, at, systemIdentifier }: { readonly target: ReplicationTarget; readonly walproposer: Walproposer; readonly at: Lsn; readonly systemIdentifier: bigint },
  signal: AbortSignal,
): Promise<ReplicationClient> {
  const client = await ReplicationClient.connect(target, signal);
  const system = await client.identifySystem(signal);
  if (system.systemIdentifier !== systemIdentifier || system.walEnd < at) {
    client.destroy();
    throw new CoppiceError('Corrupt', 'wrong-cluster', `postgres is system ${system.systemIdentifier} at ${formatLsn(system.walEnd)}, elected was ${systemIdentifier} at ${formatLsn(at)}`);
  }
  await client.start(at, { onWal: (start, bytes) => walproposer.append(start, bytes), onReplyWanted: () => client.acknowledgeAgain() }, signal);
  client.acknowledge(at);
  return client;
}
