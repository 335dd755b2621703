/**
 * A real control-plane process on a real metadata Postgres, for tests of those who call it. Computes are entries of a map: the
 * agent is a stand-in, because what runs Postgres is tested elsewhere.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import {
  type AgentHeartbeat,
  type ComputeStatus,
  computeAgentContract,
  connectPublic,
  controlContract,
  controlInternalContract,
  fleetContract,
  grpcServer,
  type PublicClient,
  serve,
} from '@coppice/contracts';
import { BackgroundLoop, CoppiceError, type Part, silentLog, systemClock } from '@coppice/service-kit';
import { lsn, term } from '@coppice/vocabulary';
import { testIdentities } from '../identity/test-identities';
import { startPostgres, type TestPostgres } from '../servers/postgres';
import { workspaceRoot } from './stack';

export const TEST_KEY = 'cpk_0123456789abcdef';
const TEMPLATE_LSN = lsn(0x1500000n);
const REPOSITORY = workspaceRoot();

export type ControlClient = PublicClient<(typeof controlContract)['methods']>;
export type FleetClient = PublicClient<(typeof fleetContract)['methods']>;

export class ControlPlaneProcess {
  readonly #stop: () => Promise<void>;

  private constructor(
    /** For our own services; every call needs an identity. */
    readonly address: string,
    /** For whoever has an API key. */
    readonly publicAddress: string,
    readonly control: ControlClient,
    readonly fleet: FleetClient,
    /** What it has logged. */
    readonly log: readonly string[],
    stop: () => Promise<void>,
  ) {
    this.#stop = stop;
  }

  stop(): Promise<void> {
    return this.#stop();
  }

  /** Starts everything and returns when the template is there. */
  static async start(): Promise<ControlPlaneProcess> {
    const directory = await mkdtemp(join(tmpdir(), 'cgw-'));
    const bundle = join(REPOSITORY, 'dist', `test-control-plane-${process.pid}`);
    const address = `unix:${join(directory, 'cp')}`;
    const publicAddress = `unix:${join(directory, 'pub')}`;
    const postgres: TestPostgres = await startPostgres({ settings: { fsync: true } });
    const agent = agentStandIn(`unix:${join(directory, 'a')}`);
    await agent.start();
    await build({
      entryPoints: [join(REPOSITORY, 'apps/control-plane/src/main.ts')],
      outfile: join(bundle, 'main.js'),
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'cjs',
      packages: 'external',
      tsconfig: join(REPOSITORY, 'tsconfig.base.json'),
      logLevel: 'error',
    });
    const { host, port } = postgres.connectionConfig();
    const log: string[] = [];
    const child: ChildProcess = spawn(process.execPath, [join(bundle, 'main.js')], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        ...process.env,
        ...testIdentities.env('control-plane'),
        COPPICE_METRICS_PORT: '0',
        COPPICE_CONTROL_PLANE_LISTEN: address,
        COPPICE_CONTROL_PLANE_PUBLIC_LISTEN: publicAddress,
        COPPICE_SAFEKEEPERS: [1, 2, 3].map((n) => `unix:${join(directory, `sk${n}`)}`).join(','),
        COPPICE_PAGESERVER: `unix:${join(directory, 'ps')}`,
        COPPICE_METADATA_HOST: host,
        COPPICE_METADATA_PORT: String(port),
        COPPICE_MASTER_SECRET: 'a secret',
        COPPICE_OPERATOR_KEY: TEST_KEY,
      },
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => log.push(text));
    const exited = new Promise<void>((done) => child.once('exit', () => done()));
    const asGateway = { address, security: testIdentities.security('gateway') };
    const control = connectPublic(controlContract, asGateway);
    const fleet = connectPublic(fleetContract, asGateway);
    const internal = testIdentities.everyone(controlInternalContract, address, { node: 'agent-1' });
    const reports = new BackgroundLoop({
      name: 'heartbeat',
      everyMs: 500,
      log: silentLog(),
      run: () => internal.agentHeartbeat(agent.report()).then(() => undefined),
    });
    reports.start();
    const stop = async (): Promise<void> => {
      await reports.stop();
      control.close();
      fleet.close();
      internal.close();
      child.kill('SIGTERM');
      await exited;
      await agent.stop();
      await postgres.dispose();
      await rm(bundle, { recursive: true, force: true });
      await rm(directory, { recursive: true, force: true });
    };
    for (let waited = 0; waited < 30_000; waited += 100) {
      if ((await control.getReadiness({}).catch(() => undefined))?.ready)
        return new ControlPlaneProcess(address, publicAddress, control, fleet, log, stop);
      await systemClock.sleep(100);
    }
    await stop();
    throw new Error(`the control-plane does not become ready:\n${log.join('')}`);
  }
}

function agentStandIn(address: string): Part & { readonly report: () => AgentHeartbeat } {
  const computes = new Map<string, ComputeStatus>();
  const find = async ({ computeId }: { computeId: string }): Promise<ComputeStatus> => {
    const compute = computes.get(computeId);
    if (!compute) throw new CoppiceError('NotFound', 'compute-not-found', `no compute ${computeId}`);
    return compute;
  };
  const server = grpcServer({
    address,
    log: silentLog(),
    security: testIdentities.security('compute-agent'),
    services: [
      serve(computeAgentContract, {
        startCompute: async (r) => {
          const compute: ComputeStatus = {
            computeId: r.computeId,
            endpointId: r.endpointId,
            timelineId: r.timelineId,
            state: 'running',
            socketDirectory: '/s',
            port: 5432,
            startLsn: r.timelineStartLsn,
            commitLsn: lsn(r.timelineStartLsn + 120n),
            lastActiveUnixMs: 0,
            term: term(1),
            failure: '',
            phases: [],
            dataDirectory: '',
          };
          computes.set(r.computeId, compute);
          return compute;
        },
        stopCompute: async (r) => {
          const compute = await find(r);
          computes.delete(r.computeId);
          return { ...compute, state: 'stopped' };
        },
        getCompute: find,
        listComputes: async () => ({ computes: [...computes.values()] }),
        runSql: async ({ statements }) => ({
          results: statements.map(() => ({ columns: [], rows: [], commandTag: '' })),
        }),
        setComputeLimits: find,
        buildTemplate: async () => ({ lsn: TEMPLATE_LSN, systemIdentifier: 7n }),
      }),
    ],
  });
  const report = (): AgentHeartbeat => ({
    nodeId: 'agent-1',
    address,
    incarnation: 'i',
    computes: [...computes.values()].map((c) => ({
      computeId: c.computeId,
      lastActiveUnixMs: systemClock.now(),
      commitLsn: c.commitLsn,
      state: c.state,
      failure: '',
    })),
  });
  return { ...server, report };
}
