import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32c } from '@coppice/bytes';
import { FileObjectStore } from '@coppice/object-store';
import { WalStreamDecoder } from '@coppice/postgres';
import type { WalRecord } from '@coppice/postgres';
import { CoppiceError, silentLog, systemClock } from '@coppice/service-kit';
import { FULL, captureWalBytes, currentWalPosition, flushWal, preparePostgres, testIdentities } from '@coppice/testing';
import type { PageKey } from '@coppice/vocabulary';
import { KeyKind } from '@coppice/vocabulary';
import { importFiles } from '../import/import-files';
import { filesOf } from '../ingest/testing/data-directory';
import { MemoryTarget } from '../ingest/testing/memory-target';
import { TimelineIngest } from '../ingest/timeline-ingest';
import { Flusher } from '../maintenance/flusher';
import { Compactor } from '../maintenance/compactor';
import { waitForLsn } from '../read/wait-for-lsn';
import { importImages } from '../storage/import-images';
import { StorageWorld, testTimelineId } from '../storage/storage-world';
import type { Timeline } from '../storage/timeline';
import type { TimelineFacts } from '../storage/timelines';
import { Receivers } from './receivers';
import { Reporter } from './reporter';
import { connectSafekeepers } from './safekeepers';
import type { ServedWal } from './testing/wal-server';
import { WalServer } from './testing/wal-server';

const TEMPLATE = testTimelineId(1);
const BRANCH = testTimelineId(2);

const ROWS = FULL ? 10_000 : 3_000;

const WORKLOAD = [
  'create table a (id int primary key, n int, filler text)',
  `insert into a select i, 0, repeat('x', 100) from generate_series(1, ${ROWS}) i`,
  'create index on a using gin ((array[n, id]))',
  ...Array.from({ length: 20 }, (_, i) => `update a set n = n + 1 where id % 20 = ${i}`),
  'vacuum a',
  `delete from a where id > ${0.7 * ROWS}`,
  'vacuum a',
  'create table b as select * from a',
  'truncate b',
  'create table c (id serial primary key, at timestamptz default now())',
  ...Array.from({ length: 200 }, () => 'insert into c default values'),
  'create database copied strategy file_copy',
  'drop table b',
  'vacuum full a',
];

interface History {
  readonly cluster: Awaited<ReturnType<typeof importFiles>>;
  readonly wal: ServedWal;
  readonly endLsn: number;
  /** Ends of all records. */
  readonly ends: readonly number[];
  /** Everything, kept for ever. */
  readonly model: MemoryTarget;
}

async function makeHistory(): Promise<History> {
  const settings = { full_page_writes: false, autovacuum: false, wal_consistency_checking: 'gin,gist,spgist,hash,brin' };
  const server = await preparePostgres({ settings });
  try {
    const cluster = await importFiles(filesOf(server.dataDirectory));
    const model = new MemoryTarget();
    for (const [key, bytes] of cluster.entries) model.put(key, cluster.lsn, { kind: 'image', bytes });
    await server.start();
    for (const statement of WORKLOAD) await server.query(statement);
    await flushWal(server);
    await server.query('checkpoint');
    const bytes = await captureWalBytes(server, cluster.lsn, await currentWalPosition(server));
    const ingest = await TimelineIngest.start(model, cluster.lsn);
    const decoder = new WalStreamDecoder(cluster.lsn);
    const records: WalRecord[] = [];
    decoder.push(bytes, (record) => records.push(record));
    for (const record of records) await ingest.apply(record);
    const wal = { timeline: BRANCH, startLsn: cluster.lsn, bytes };
    return { cluster, wal, endLsn: decoder.lastRecordEnd, ends: records.map((r) => r.endLsn), model };
  } finally {
    await server.dispose();
  }
}

describe('a branch that receives WAL from safekeepers', () => {
  let history: History;
  let directory: string;
  const stops: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    history = await makeHistory();
  }, 240_000);
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'cps-'));
  });
  afterEach(async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
    await rm(directory, { recursive: true });
  });

  async function startServers(commits: readonly number[], wal = history.wal): Promise<WalServer[]> {
    const servers = commits.map((commit, i) => new WalServer(`unix:${join(directory, `s${i}`)}`, wal, commit));
    for (const { part } of servers) {
      await part.start();
      stops.push(() => part.stop());
    }
    return servers;
  }

  async function makeWorld(): Promise<StorageWorld> {
    const store = await FileObjectStore.open(join(directory, 'objects'));
    const { cluster } = history;
    const facts = new Map<Timeline['id'], TimelineFacts>([
      [BRANCH, { ancestor: { timeline: TEMPLATE, lsn: cluster.lsn }, systemIdentifier: cluster.systemIdentifier }],
    ]);
    const world = new StorageWorld({ store, facts, openLayerBytes: 3_000_000 });
    await importImages({ timeline: TEMPLATE, ...cluster }, { store, attachment: world.attachment, timelines: world.timelines });
    return world;
  }

  /** The moving parts of a pageserver around a world; stopped hard, as far as one process can. */
  async function run(world: StorageWorld, servers: readonly WalServer[]): Promise<{ receivers: Receivers; stop: () => Promise<void> }> {
    const safekeepers = connectSafekeepers(servers.map((s, i) => `s${i}=${s.address}`), testIdentities.security('pageserver'));
    const { attachment, timelines, reader, logicalSizes, layers, store } = world;
    const log = silentLog();
    const reporter = new Reporter({ safekeepers, attachment, log, everyMs: 20 });
    const compactor = new Compactor({ store, attachment, layers, reader, log, loaded: () => timelines.loaded });
    const flusher = new Flusher({
      ...{ store, attachment, log, flushAfterMs: 300, maxUnwrittenBytes: 1e9, loaded: () => timelines.loaded },
      onDurable: (timeline) => {
        reporter.moved(timeline);
        compactor.nudge();
      },
    });
    const receivers = new Receivers({ timelines, safekeepers, reader, logicalSizes, log, maxAnnounced: 8, onProgress: (timeline) => reporter.moved(timeline) });
    const parts = [reporter, flusher, compactor, receivers];
    for (const part of parts) await part.start();
    let isStopped = false;
    const stop = async (): Promise<void> => {
      if (isStopped) return;
      isStopped = true;
      for (const part of [...parts].reverse()) await part.stop();
    };
    stops.push(stop);
    return { receivers, stop };
  }

  async function reach(world: StorageWorld, receivers: Receivers, lsn: number): Promise<Timeline> {
    const timeline = await world.timelines.get(BRANCH);
    await waitForLsn(timeline, lsn, { want: (of, at) => receivers.want(of, at), deadlineMs: 120_000 });
    return timeline;
  }

  /** Every key of the model, pages rebuilt, compared at a position. Returns how many exist. */
  async function compareAt(world: StorageWorld, timeline: Timeline, lsn: number): Promise<number> {
    const short = (bytes: Buffer | undefined): number => (bytes === undefined ? -1 : crc32c(bytes));
    const keys = [...history.model.versions.keys()].sort();
    const differences: string[] = [];
    let found = 0;
    for (let at = 0; at < keys.length; at += 200) {
      const some = keys.slice(at, at + 200);
      const isPage = (key: PageKey): boolean => key.charCodeAt(0) === KeyKind.relationBlock || key.charCodeAt(0) === KeyKind.slruPage;
      const pages = await world.reader.pages(timeline, some.filter(isPage), lsn);
      const values = await world.reader.values(timeline, some.filter((key) => !isPage(key)), lsn);
      for (const key of some) {
        const ours = isPage(key) ? pages.shift() : values.shift();
        const theirs = isPage(key) ? history.model.page(key, lsn) : history.model.peek(key, lsn);
        if (theirs !== undefined) found += 1;
        if (short(ours) !== short(theirs)) differences.push(Buffer.from(key, 'latin1').toString('hex'));
      }
    }
    expect(differences).toEqual([]);
    return found;
  }

  it('reads at any position what a store that keeps everything reads, through lag, loss and restarts', async () => {
    const { ends, endLsn, model } = history;
    const part = (share: number): number => ends[Math.floor(ends.length * share)]!;
    const servers = await startServers([part(0.3), part(0.2), part(0.1)]);
    servers[0]!.breakAfter = 3;
    const world = await makeWorld();
    const first = await run(world, servers);
    await reach(world, first.receivers, part(0.3));
    servers[1]!.commitLsn = part(0.6);
    const before = await reach(world, first.receivers, part(0.6));
    expect(before.durableLsn).toBeGreaterThan(history.cluster.lsn);
    await first.stop();

    world.restart();
    servers[1]!.stalls = true;
    servers[2]!.commitLsn = servers[0]!.commitLsn = endLsn;
    const second = await run(world, servers);
    const timeline = await reach(world, second.receivers, endLsn);
    expect(timeline.finished.lsn).toBe(endLsn);
    for (const lsn of [part(0.05), part(0.45), part(0.7), endLsn]) expect(await compareAt(world, timeline, lsn)).toBeGreaterThan(3000);
    expect(await world.logicalSizes.of(timeline)).toEqual({ bytes: (history.cluster.logicalBlocks + model.logicalBlocks) * 8192, isEstimate: false });
    for (let i = 0; i < 100 && timeline.durableLsn < endLsn; i += 1) await systemClock.sleep(50);
    expect(timeline.durableLsn).toBe(endLsn);
    for (let i = 0; i < 100 && servers[2]!.reports.at(-1)?.durableLsn !== endLsn; i += 1) await systemClock.sleep(50);
    expect(servers[2]!.reports.at(-1)).toEqual({ ingestedLsn: endLsn, durableLsn: endLsn, generation: 2 });
    await second.stop();

    world.restart();
    expect(await compareAt(world, await world.timelines.get(BRANCH), endLsn)).toBeGreaterThan(3000);
  }, 240_000);

  it('stops loudly at damaged WAL, says so to readers, and still serves what came before', async () => {
    const { ends, endLsn, cluster } = history;
    const intact = ends[Math.floor(ends.length / 2)]!;
    const bytes = Buffer.from(history.wal.bytes);
    bytes[intact - cluster.lsn + 60]! ^= 0xff;
    const servers = await startServers([endLsn], { ...history.wal, bytes });
    const world = await makeWorld();
    const { receivers } = await run(world, servers);
    await expect(reach(world, receivers, endLsn)).rejects.toMatchObject({ kind: 'Corrupt', code: 'ingest-stopped' });
    const timeline = await world.timelines.get(BRANCH);
    expect(timeline.finished.lsn).toBeGreaterThanOrEqual(intact - 8);
    expect(await compareAt(world, timeline, timeline.finished.lsn)).toBeGreaterThan(3000);
  }, 120_000);

  it('takes from another safekeeper what one has damaged or cannot read', async () => {
    const { ends, endLsn, cluster, wal } = history;
    const servers = await startServers([endLsn, endLsn, endLsn]);
    const damaged = Buffer.from(wal.bytes);
    damaged[ends[Math.floor(ends.length / 2)]! - cluster.lsn + 60]! ^= 0xff;
    Object.assign(servers[0]!, { wal: { ...wal, bytes: damaged } });
    servers[1]!.trouble = new CoppiceError('Internal', 'unexpected', 'EMFILE: too many open files');
    const world = await makeWorld();
    const { receivers } = await run(world, servers);
    await reach(world, receivers, endLsn);
    expect((await world.timelines.get(BRANCH)).failure).toBeUndefined();
  }, 120_000);

  it('answers reads while it ingests', async () => {
    const servers = await startServers([history.endLsn]);
    const world = await makeWorld();
    const { receivers } = await run(world, servers);
    const timeline = await world.timelines.get(BRANCH);
    const keys = [...history.model.versions.keys()].filter((key) => key.charCodeAt(0) === KeyKind.relationBlock);
    let reads = 0;
    receivers.want(timeline, history.endLsn);
    while (timeline.finished.lsn < history.endLsn) {
      const lsn = timeline.finished.lsn;
      const key = keys[(reads * 7919) % keys.length]!;
      const [page] = await world.reader.pages(timeline, [key], lsn);
      const expected = history.model.page(key, lsn);
      expect(page === undefined ? -1 : crc32c(page)).toBe(expected === undefined ? -1 : crc32c(expected));
      reads += 1;
      await systemClock.sleep(2);
    }
    expect(reads).toBeGreaterThan(50);
  }, 120_000);
});
