/**
 * For tests: an agent's surroundings. Three real safekeeper processes, which can be killed and started again, and a
 * pageserver that answers from the files of a stopped cluster, at the one position that these are of.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  type ComputeImagePart, connect, grpcServer, pageserverContract, type PagesResponse, type RelationsPart, safekeeperContract, serve, type StartComputeRequest, toFailure,
} from '@coppice/contracts';
import { createLog, postgresBinDirectory, Semaphore, silentLog, systemClock, systemRandom } from '@coppice/service-kit';
import { serverUser, startPostgres, testIdentities, type TestPostgres } from '@coppice/testing';
import { KeyKind, type NodeId, pageKeyFields, parseNodeId, parseTimelineId, relationOfKey } from '@coppice/vocabulary';
import { build } from 'esbuild';
import { Client } from 'pg';
import { buildInterposer } from '../page-source/sparse-cluster.fixture';
import { WarmSets } from '../pageserver/warm-sets';
import { installInterposer, prepareInstallation } from '../postgres/installation';
import { Launcher } from '../postgres/launcher';
import { readNodeMemory } from '../memory/node-memory';
import { ServerUsers } from '../postgres/server-users';
import type { ComputeImage } from '../prepare/compute-image';
import { imageOfDirectory, pagesOfDirectory } from '../prepare/directory-image.fixture';
import { ADMIN_ROLE } from '../prepare/settings';
import { openResources } from '../resources/open-resources';
import { Scaler } from '../scaling/scaler';
import type { SafekeeperClient } from '../wal/grpc-safekeeper';
import { ComputeRegistry } from './compute-registry';
import type { ComputeServices } from './compute-services';
import { Trash } from './trash';

const run = promisify(execFile);
const WORKSPACE = join(__dirname, '../../../..');

export class AgentWorld {
  readonly directory = mkdtempSync(join(tmpdir(), 'cpw-'));
  readonly nodes: readonly NodeId[] = ['sk1', 'sk2', 'sk3'].map((n) => parseNodeId(n)!);
  readonly #launcher = join(this.directory, 'launcher');
  readonly #processes = new Map<NodeId, ChildProcess>();
  readonly #clients = new Map<NodeId, SafekeeperClient>();
  readonly #closers: (() => Promise<void> | void)[] = [];
  origin!: TestPostgres;
  image!: ComputeImage;
  services!: ComputeServices;
  /** May be changed while computes run. */
  readonly limits = { maxPageserverLagBytes: 1 << 30, startDeadlineMs: 30_000, suspendDeadlineMs: 20_000, drainMs: 10_000, activityEveryMs: 500 };
  computes!: ComputeRegistry;
  launcher!: Launcher;

  static async start(): Promise<AgentWorld> {
    const world = new AgentWorld();
    await world.#start();
    return world;
  }

  async #start(): Promise<void> {
    chmodSync(this.directory, 0o711);
    const [interposer] = await Promise.all([
      buildInterposer(),
      run(join(WORKSPACE, 'apps/compute-agent/launcher/build.sh'), [this.#launcher]),
      build({
        entryPoints: [join(WORKSPACE, 'apps/safekeeper/src/main.ts')], outfile: join(WORKSPACE, 'node_modules/.cache/compute-agent-tests/safekeeper.js'),
        bundle: true, platform: 'node', target: 'node20', format: 'cjs', packages: 'external', tsconfig: join(WORKSPACE, 'tsconfig.base.json'),
      }),
    ]);
    await Promise.all(this.nodes.map((node) => this.startSafekeeper(node)));
    this.origin = await startPostgres({ settings: { wal_level: 'replica' }, initdbArgs: [] });
    await this.origin.query(`create role ${ADMIN_ROLE} superuser login replication`);
    await this.origin.query('create table t (a int primary key, b text)');
    await this.origin.stop('fast');
    this.image = imageOfDirectory(this.origin.dataDirectory);
    await this.#serve(interposer);
  }

  async #serve(interposer: string): Promise<void> {
    const log = process.env['COPPICE_LOG_LEVEL'] ? createLog('test') : silentLog();
    const address = `unix:${join(this.directory, 'ps')}`;
    const server = grpcServer({ address, services: [directoryPageserver(this.image, this.origin.dataDirectory)], log, security: testIdentities.security('pageserver') });
    await server.start();
    const pageserver = connect(pageserverContract, { address, security: testIdentities.security('compute-agent', { node: 'agent-1' }) });
    const computesDirectory = join(this.directory, 'c');
    mkdirSync(computesDirectory, { mode: 0o711 });
    const safekeepers = this.nodes.map((node) => ({ node, client: this.client(node) }));
    const launcher = new Launcher(this.#launcher, log);
    this.launcher = launcher;
    launcher.start();
    launcher.keepSpares(2, 100);
    const users = new ServerUsers({ initdb: serverUser ?? { uid: 0, gid: 0 }, firstUid: 210_000, count: 10 });
    const resources = openResources({ group: '', clock: systemClock, log });
    const scaler = new Scaler({ nodeCpus: resources.nodeCpus, times: { lookEveryMs: 500, downAfterMs: 3_000, freeStartMs: 300 }, clock: systemClock, log });
    scaler.start();
    this.services = {
      computesDirectory,
      installation: prepareInstallation(postgresBinDirectory(), computesDirectory),
      interposer: installInterposer(interposer, computesDirectory),
      launch: launcher.launch,
      users,
      trash: new Trash(computesDirectory, systemRandom, log),
      resources,
      scaler,
      membership: { generation: 1, members: this.nodes },
      safekeepers,
      pageserver,
      warm: new WarmSets(),
      looks: new WarmSets(),
      starts: new Semaphore(4),
      firstLooks: new Semaphore(1),
      clock: systemClock,
      random: systemRandom,
      log,
      limits: this.limits,
    };
    this.computes = new ComputeRegistry(this.services, { maxComputes: 10, memoryBytes: 0, startsAtOnce: 4, nodeMemory: readNodeMemory });
    this.#closers.push(() => server.stop(), () => pageserver.close(), () => launcher.stop(), () => resources.close(), () => scaler.stop(), () => this.computes.stopAll());
  }

  client(node: NodeId): SafekeeperClient {
    let client = this.#clients.get(node);
    if (!client) this.#clients.set(node, (client = testIdentities.everyone(safekeeperContract, this.address(node))));
    return client;
  }

  address(node: NodeId): string {
    return `unix:${join(this.directory, node)}`;
  }

  async startSafekeeper(node: NodeId): Promise<void> {
    const child = spawn(process.execPath, [join(WORKSPACE, 'node_modules/.cache/compute-agent-tests/safekeeper.js')], {
      env: {
        ...process.env,
        ...testIdentities.env('safekeeper'),
        COPPICE_SAFEKEEPER_ID: node,
        COPPICE_METRICS_PORT: '0',
        COPPICE_SAFEKEEPER_ADDRESS: this.address(node),
        COPPICE_SAFEKEEPER_DATA: join(this.directory, `${node}-data`),
        COPPICE_PROTOS: join(WORKSPACE, 'protos'),
        COPPICE_LOG_LEVEL: 'warn',
      },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#processes.set(node, child);
    await new Promise<void>((resolve, reject) => {
      child.once('message', () => resolve());
      child.once('exit', (code) => reject(new Error(`safekeeper ${node} ends: ${code}`)));
    });
  }

  async killSafekeeper(node: NodeId): Promise<void> {
    const child = this.#processes.get(node)!;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGKILL');
    await gone;
  }

  /** A request for a new compute on a timeline of its own, which starts where the cluster ends. */
  request(change: Partial<StartComputeRequest> = {}): StartComputeRequest {
    const timelineId = change.timelineId ?? parseTimelineId(systemRandom.bytes(16).toString('hex'))!;
    const computeId = change.computeId ?? `compute-${systemRandom.bytes(16).toString('hex')}`;
    return {
      computeId,
      endpointId: 'ep-test-test-1',
      timelineId,
      timelineToken: testIdentities.token('compute', { timeline: timelineId, compute: computeId }),
      timelineStartLsn: this.image.lsn,
      systemIdentifier: this.image.systemIdentifier,
      fencingToken: 1,
      setupSql: [],
      settings: {},
      computeUnits: 0,
      storageLimitBytes: 0,
      keepDataDirectory: false,
      expectedLsn: this.image.lsn,
      ...change,
    };
  }

  async connect(socketDirectory: string, user = ADMIN_ROLE): Promise<Client> {
    const client = new Client({ host: socketDirectory, port: 5432, user, database: 'postgres' });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  async dispose(): Promise<void> {
    for (const close of this.#closers.reverse()) await close();
    for (const client of this.#clients.values()) client.close();
    for (const child of this.#processes.values()) child.kill('SIGKILL');
    await this.origin?.dispose();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function directoryPageserver(image: ComputeImage, data: string): ReturnType<typeof serve> {
  const pages = pagesOfDirectory(data);
  const unused = async (): Promise<never> => Promise.reject(new Error('not part of this test'));
  return serve(pageserverContract, {
    getPages: async (stream, { signal }) => {
      stream.onMessage(({ id, keys }) => {
        let response: PagesResponse;
        try {
          response = { id, pages: pages(keys) };
        } catch (error) {
          response = { id, pages: [], failure: toFailure(error) };
        }
        stream.send(response);
      });
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    },
    getComputeImage: async function* ({ wanted }) {
      yield* partsOf(image);
      const relations = wanted.map(relationOfKey);
      yield* relationsParts(image, (r) => relations.some((w) => w.database === r.database && w.relation === r.relation));
      const keys = wanted.filter((key) => pageKeyFields(key).kind === KeyKind.relationBlock);
      yield { kind: 'warmPages', value: { keys, pages: pages(keys) } };
    },
    getRelations: async function* ({ database, relation }) {
      yield* relationsParts(image, (r) => r.database === database && (relation === 0 || r.relation === relation));
    },
    getTimelineStatus: async () => ({ ingestedLsn: image.lsn, durableLsn: image.lsn, logicalSizeBytes: 0, writtenWalBytes: 0, layers: 1, ownBytes: 0, logicalSizeIsEstimate: false }),
    lsnAtTime: unused,
    waitForLsn: unused,
    importTimeline: unused,
    listTimelines: unused,
    deleteTimeline: unused,
    getTimelineSizes: unused,
    sweepOrphanedObjects: unused,
  });
}

function relationsParts(image: ComputeImage, isMeant: (relation: { readonly database: number; readonly relation: number }) => boolean): RelationsPart[] {
  const r = image.relations.filter(isMeant);
  return [
    {
      kind: 'relations',
      value: {
        tablespace: r.map((x) => x.tablespace), database: r.map((x) => x.database), relation: r.map((x) => x.relation),
        fork: r.map((x) => x.fork), blocks: r.map((x) => x.blocks),
      },
    },
    ...image.initForks.filter(isMeant).map((value) => ({ kind: 'initFork', value }) as const),
  ];
}

function partsOf(image: ComputeImage): ComputeImagePart[] {
  const { lsn, previousRecordLsn, systemIdentifier, checkpoint, logicalBlocks, logicalIsEstimate, slruSegments: s } = image;
  return [
    { kind: 'header', value: { lsn, previousRecordLsn, systemIdentifier, checkpoint, logicalBlocks, logicalIsEstimate } },
    ...image.databases.map((value) => ({ kind: 'database', value }) as const),
    ...image.files.map((value) => ({ kind: 'file', value }) as const),
    { kind: 'slruSegments', value: { slru: s.map((x) => x.slru), segment: s.map((x) => x.segment), pages: s.map((x) => x.pages) } },
  ];
}
