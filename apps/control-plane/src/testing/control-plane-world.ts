/**
 * Two control-planes over one metadata Postgres, two agents and a quorum that are stand-ins, and a clock that tests move:
 *
 *   control, internal ──► cp  ─┐                    ┌─► agent, agent2
 *   control2, other   ──► cp2 ─┴─► metadata Postgres└─► quorum (3 safekeepers, pageserver)
 */
import { type Catalog, openCatalog } from '@coppice/catalog';
import {
  type AgentCapacity,
  type BranchCreated,
  type Client,
  connectPublic,
  controlContract,
  controlInternalContract,
  type CreateBranchRequest,
  type CreateProjectRequest,
  fleetContract,
  type Omittable,
  type ProjectCreated,
  type PublicClient,
} from '@coppice/contracts';
import { CoppiceError, type Part, silentLog, systemClock, systemRandom } from '@coppice/service-kit';
import { startPostgres, testIdentities, type TestPostgres } from '@coppice/testing';
import type { TimelineId } from '@coppice/vocabulary';
import { EmbeddedQuotaStore } from '@coppice/leases';
import { buildControlPlane } from '../build-control-plane';
import { Peers } from '../peers';
import { socketDirectory, TestAgent, TestQuorum } from '../test-peers';

export type Control = PublicClient<(typeof controlContract)['methods']>;
export type Fleet = PublicClient<(typeof fleetContract)['methods']>;
export type Internal = Client<(typeof controlInternalContract)['methods']>;

/** The pageserver that `internal` and `other` speak for. */
export const PAGESERVER = 'ps-1';
/** How long what is deleted can be recovered. */
export const RECOVERY_WINDOW_MS = 7 * 86_400_000;
export const AGENT_DEAD_AFTER_MS = 60_000;
/** The operator's key. */
export const OPERATOR_KEY = 'cpk_0123456789abcdef';
/** An endpoint with the defaults, for requests that make one. */
export const RW = { type: 'read_write', suspendTimeoutSeconds: 0, minComputeUnits: 0, maxComputeUnits: 0 };

/** Call options of the holder of an API key. */
export function as(key: string, headers: Readonly<Record<string, string>> = {}) {
  return { headers: { authorization: `Bearer ${key}`, ...headers } };
}
/** Call options of the operator. */
export const call = as(OPERATOR_KEY);

/** The error that `work` is expected to end with. */
export async function errorOf(work: Promise<unknown>): Promise<CoppiceError> {
  const failed: unknown = await work.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (!(failed instanceof CoppiceError)) throw new Error(`expected an error, got ${String(failed)}`);
  return failed;
}

export function timelineOf(made: { branch: { timelineId?: TimelineId | undefined } }): TimelineId {
  return made.branch.timelineId!;
}

export class ControlPlaneWorld {
  readonly server: TestPostgres;
  readonly catalog: Catalog;
  readonly quorum: TestQuorum;
  readonly agent: TestAgent;
  readonly agent2: TestAgent;
  readonly control: Control;
  readonly control2: Control;
  readonly fleet: Fleet;
  readonly internal: Internal;
  /** Of the second control-plane. */
  readonly other: Internal;
  /** How far the control-planes' clocks are ahead, milliseconds. */
  skewMs = 0;
  /** Counters of agents, shared by both control-planes. */
  readonly quotas = new EmbeddedQuotaStore();
  readonly #sockets: Awaited<ReturnType<typeof socketDirectory>>;
  readonly #otherCatalog: Catalog;
  readonly #parts: Part[] = [];
  readonly #starting: Promise<void>[] = [];

  private constructor(server: TestPostgres, sockets: Awaited<ReturnType<typeof socketDirectory>>) {
    this.server = server;
    this.#sockets = sockets;
    const { host, port } = server.connectionConfig();
    const where = { host: host!, port: port!, user: 'postgres', database: 'postgres', log: silentLog() };
    this.catalog = openCatalog(where);
    this.#otherCatalog = openCatalog(where);
    this.quorum = new TestQuorum();
    this.agent = new TestAgent('agent-1', sockets.path('a1'), this.quorum);
    this.agent2 = new TestAgent('agent-2', sockets.path('a2'), this.quorum);
    const security = testIdentities.security('gateway');
    const [one, two] = [sockets.path('cp'), sockets.path('cp2')];
    this.control = connectPublic(controlContract, { address: one, security });
    this.control2 = connectPublic(controlContract, { address: two, security });
    this.fleet = connectPublic(fleetContract, { address: one, security });
    this.internal = testIdentities.everyone(controlInternalContract, one, { node: PAGESERVER });
    this.other = testIdentities.everyone(controlInternalContract, two, { node: PAGESERVER });
  }

  /** A world in which projects can be made; with `template: 'later'`, after `ready` only. */
  static async start(options: { readonly template?: 'later' } = {}): Promise<ControlPlaneWorld> {
    const sockets = await socketDirectory();
    const world = new ControlPlaneWorld(await startPostgres(), sockets);
    try {
      await world.#start();
      if (options.template !== 'later') await world.ready();
      return world;
    } catch (error) {
      await world.stop();
      throw error;
    }
  }

  async #start(): Promise<void> {
    const { quorum } = this;
    for (const peer of [
      ...[1, 2, 3].map((n) => quorum.safekeeper(this.#sockets.path(`sk${n}`))),
      quorum.pageserver(this.#sockets.path('ps')),
    ]) {
      await peer.start();
      this.#parts.push(peer);
    }
    await this.agent.serve();
    await this.agent2.serve();
    await this.#startControlPlane(this.#sockets.path('cp'), this.catalog);
    await this.#startControlPlane(this.#sockets.path('cp2'), this.#otherCatalog);
  }

  async #startControlPlane(listen: string, catalog: Catalog): Promise<void> {
    const made = buildControlPlane({
      quotaStore: this.quotas,
      listen,
      publicListen: '',
      catalog,
      peers: new Peers(
        {
          safekeepers: [1, 2, 3].map((n) => this.#sockets.path(`sk${n}`)),
          pageserver: this.#sockets.path('ps'),
        },
        testIdentities.security('control-plane'),
      ),
      security: testIdentities.security('control-plane'),
      issuer: testIdentities.issuer,
      masterSecret: 'a secret',
      operatorKey: OPERATOR_KEY,
      proxy: { host: '127.0.0.1', port: 7432, domain: '', sslMode: '' },
      limits: {
        // Agents here report when a test has them do so: longer than a busy machine takes for a test.
        agentDeadAfterMs: AGENT_DEAD_AFTER_MS,
        wakeTimeoutMs: 5_000,
        startQueueLength: 50,
        startWaitMs: 4_500,
        unusedForMs: 2_000,
        recoveryWindowMs: RECOVERY_WINDOW_MS,
      },
      clock: { ...systemClock, now: () => this.now() },
      random: systemRandom,
      log: silentLog(),
    });
    this.#parts.push(...made);
    // The last part is ready when the template is there, which takes an agent's heartbeat.
    for (const part of made.slice(0, -1)) await part.start();
    const last = made.at(-1)!.start();
    this.#starting.push(Promise.resolve(last));
  }

  /** Lets the first agent report for duty and waits until projects can be made. */
  async ready(): Promise<void> {
    await this.heartbeat(this.agent);
    await Promise.all(this.#starting);
  }

  now(): number {
    return systemClock.now() + this.skewMs;
  }

  /** An agent reports its computes, as used at `lastActiveUnixMs`, and what it can do. */
  async heartbeat(
    of: TestAgent,
    lastActiveUnixMs = this.now(),
    capacity?: Omittable<AgentCapacity>,
  ): Promise<void> {
    await this.internal.as(testIdentities.token('compute-agent', { node: of.nodeId })).agentHeartbeat({
      nodeId: of.nodeId,
      address: of.address,
      incarnation: of.incarnation,
      capacity: capacity && { startsAtOnce: 2, maxComputes: 200, ...capacity },
      computes: [...of.computes.values()].map((c) => ({
        computeId: c.computeId,
        lastActiveUnixMs,
        commitLsn: c.commitLsn,
        state: c.state,
        failure: '',
        ...(c.size && {
          computeUnits: c.size.units,
          minComputeUnits: c.size.minUnits,
          maxComputeUnits: c.size.maxUnits,
          unitSeconds: c.size.unitSeconds,
        }),
      })),
    });
  }

  project(over: Omittable<CreateProjectRequest> = {}, options = call): Promise<ProjectCreated> {
    return this.control.createProject(over, options);
  }

  /** A branch of the project with one endpoint, unless told otherwise. */
  fork(projectId: string, over: Omittable<CreateBranchRequest> = {}, options = call): Promise<BranchCreated> {
    return this.control.createBranch({ projectId, endpoints: [RW], ...over }, options);
  }

  async stop(): Promise<void> {
    for (const client of [this.control, this.control2, this.fleet, this.internal, this.other]) client.close();
    for (const part of [...this.#parts].reverse()) await part.stop();
    await this.agent.stop();
    await this.agent2.stop();
    await this.server.dispose();
    await this.#sockets.remove();
  }
}
