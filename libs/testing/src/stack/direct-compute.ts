/** A compute that a test starts itself, past the control-plane: superuser over its socket, data directory kept when it stops. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Client, type QueryResultRow } from 'pg';
import {
  type Client as RpcClient,
  computeAgentContract,
  type ComputeStatus,
  controlContract,
  controlInternalContract,
} from '@coppice/contracts';
import type { Lsn, TimelineId } from '@coppice/vocabulary';
import { stackIdentities } from '../identity/stack-identities';
import { ADMIN } from './admin';
import type { OwnAgent } from './own-agent';
import type { Stack } from './stack';

/** The branch to run, as the API names it. */
export interface BranchRef {
  readonly projectId: string;
  readonly branchId: string;
  readonly endpointId: string;
}

export interface KeptDirectory {
  readonly dataDirectory: string;
  readonly timelineId: TimelineId;
  /** Where its WAL ends: the end of its shutdown checkpoint. */
  readonly lsn: Lsn;
}

/** gRPC address of a service of the stack. */
export const addressOf = (stack: Stack, name: string): string =>
  `unix:${join(stack.file.runDirectory, 'svc', name)}`;

async function timelineOf(
  stack: Stack,
  { projectId, branchId }: BranchRef,
): Promise<{ timelineId: TimelineId; timelineStartLsn: Lsn; systemIdentifier: bigint }> {
  const identities = stackIdentities(stack);
  const control = identities.everyone(controlContract, addressOf(stack, 'control'));
  const internal = identities.everyone(controlInternalContract, addressOf(stack, 'control'));
  try {
    const headers = { authorization: `Bearer ${stack.file.apiKey}` };
    const { timelineId } = await control.getBranch({ projectId, branchId }, { headers });
    if (!timelineId) throw new Error(`branch ${branchId} has no timeline`);
    const { ancestorLsn, systemIdentifier } = await internal.getTimeline({ timelineId });
    return { timelineId, timelineStartLsn: ancestorLsn, systemIdentifier };
  } finally {
    control.close();
    internal.close();
  }
}

export class DirectCompute {
  readonly #agent;
  readonly #compute: ComputeStatus;
  readonly #clients = new Map<string, Promise<Client>>();

  private constructor(agent: RpcClient<(typeof computeAgentContract)['methods']>, compute: ComputeStatus) {
    this.#agent = agent;
    this.#compute = compute;
  }

  static async start(stack: Stack, agentOf: OwnAgent, branch: BranchRef): Promise<DirectCompute> {
    const timeline = await timelineOf(stack, branch);
    const identities = stackIdentities(stack);
    const computeId = `compute-${randomBytes(16).toString('hex')}`;
    const agent = identities.everyone(computeAgentContract, agentOf.address);
    const compute = await agent.startCompute({
      computeId,
      endpointId: branch.endpointId,
      ...timeline,
      fencingToken: Date.now(),
      setupSql: [],
      settings: {},
      computeUnits: 0,
      storageLimitBytes: 0,
      keepDataDirectory: true,
      timelineToken: identities.token('compute', { timeline: timeline.timelineId, compute: computeId }),
    });
    return new DirectCompute(agent, compute);
  }

  /** A superuser's connection string, for programs. */
  uri(database: string): string {
    const { socketDirectory, port } = this.#compute;
    return `postgresql://${ADMIN}@/${database}?host=${encodeURIComponent(socketDirectory)}&port=${port}`;
  }

  /** A new connection of the superuser; the caller ends it. */
  async connect(database = 'postgres'): Promise<Client> {
    const { socketDirectory, port } = this.#compute;
    const client = new Client({ host: socketDirectory, port, user: ADMIN, database });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  /** Runs one statement (several, without parameters) on a kept connection. */
  async query<Row extends QueryResultRow = QueryResultRow>(
    statement: string,
    params?: readonly unknown[],
    { database = 'postgres' }: { readonly database?: string } = {},
  ): Promise<Row[]> {
    let client = this.#clients.get(database);
    if (!client) this.#clients.set(database, (client = this.connect(database)));
    const result = await (await client).query<Row>(statement, params ? [...params] : undefined);
    return Array.isArray(result) ? ((result.at(-1)?.rows ?? []) as Row[]) : result.rows;
  }

  /** Closes the kept connections. */
  async disconnect(): Promise<void> {
    const clients = [...this.#clients.values()];
    this.#clients.clear();
    await Promise.allSettled(clients.map(async (client) => (await client).end()));
  }

  /** Suspends it in good order. The directory goes with the agent. */
  async stop(): Promise<KeptDirectory> {
    await this.disconnect();
    const { computeId } = this.#compute;
    try {
      const { dataDirectory, timelineId, commitLsn } = await this.#agent.stopCompute({
        computeId,
        immediate: false,
      });
      return { dataDirectory, timelineId, lsn: commitLsn };
    } finally {
      this.#agent.close();
    }
  }
}
