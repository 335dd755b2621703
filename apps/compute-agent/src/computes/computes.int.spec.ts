/** Computes of one agent with three real safekeepers. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { silentLog, systemClock, systemRandom } from '@coppice/service-kit';
import { WalStreamDecoder } from '@coppice/postgres';
import { type Lsn, toLsnNumber } from '@coppice/vocabulary';
import type { PageserverClient } from '../pageserver/pages-stream';
import { grpcSafekeeper } from '../wal/grpc-safekeeper';
import { electWalproposer } from '../wal/elect';
import { Walproposer } from '../wal/walproposer';
import { readNodeMemory } from '../memory/node-memory';
import { AgentWorld } from './agent-world.fixture';
import { computeDirectory } from './compute-directory';

jest.setTimeout(120_000);

describe('a compute', () => {
  let world: AgentWorld;
  beforeAll(async () => (world = await AgentWorld.start()));
  afterAll(() => world?.dispose());

  it('starts, commits through the quorum, and leaves its whole wal there when it is suspended', async () => {
    const request = world.request({ setupSql: ['create role app', 'create database extra'] });
    const [status, again] = await Promise.all([world.computes.start(request), world.computes.start(request)]);
    expect(status).toMatchObject({ state: 'running', startLsn: world.image.lsn, term: again.term });
    expect(status.phases.map((p) => p.name)).toEqual(['elect', 'image', 'prepare', 'postgres', 'ready', 'setup']);

    const client = await world.connect(status.socketDirectory);
    for (let a = 1; a <= 20; a++) await client.query('insert into t values ($1, $2)', [a, 'x'.repeat(500)]);
    const ended = new Promise<{ code?: string }>((resolve) => client.once('error', resolve));
    await client.query('select 1');
    const stopped = await world.computes.stop(request.computeId, false);
    expect(stopped.state).toBe('stopped');
    expect((await ended).code).toBe('57P01');
    expect(existsSync(computeDirectory(world.services.computesDirectory, request.computeId).root)).toBe(false);

    for (const node of world.nodes) {
      const there = await world.client(node).getTimelineStatus({ timelineId: request.timelineId });
      expect(there).toMatchObject({ startLsn: world.image.lsn, commitLsn: stopped.commitLsn, flushLsn: stopped.commitLsn });
    }
    const records = await readRecords(world, request.timelineId, stopped.commitLsn);
    expect(records[0]).toBe('0/0');
    expect(records.at(-1)).toBe('0/0');
    expect(records.length).toBeGreaterThan(40);
  });

  it('starts in shared memory of its own that was kept for it', async () => {
    const kept = async (): Promise<boolean> => {
      world.launcher.keepSpares(2, 100);
      return world.launcher.spares.pieces > 0;
    };
    const first = world.request();
    await world.computes.start(first);
    await world.computes.stop(first.computeId, false);
    const memoryOf = async (): Promise<string> => {
      await until(kept);
      const request = world.request();
      const { socketDirectory } = await world.computes.start(request);
      const client = await world.connect(socketDirectory);
      const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
      const mapped = readFileSync(`/proc/${rows[0]!.pid}/maps`, 'latin1').split('\n').filter((line) => line.includes('/memfd:coppice-shared-memory'));
      expect(mapped).toHaveLength(1);
      await world.computes.stop(request.computeId, false);
      // Address, permissions, offset, device, inode: proc_pid_maps(5).
      return mapped[0]!.split(/ +/)[4]!;
    };
    const used = [await memoryOf(), await memoryOf(), await memoryOf()];
    expect(new Set(used).size).toBe(used.length);
  });

  it('starts and commits with one safekeeper down, goes on when one is killed, and the other catches up', async () => {
    const [one, two, three] = world.nodes as [never, never, never];
    await world.killSafekeeper(three);
    const request = world.request();
    const status = await world.computes.start(request);
    const client = await world.connect(status.socketDirectory);
    await client.query("insert into t select g, repeat('y', 300) from generate_series(1, 20000) g");
    await world.startSafekeeper(three);
    await until(async () => (await flushLsn(world, three, request.timelineId)) === world.computes.get(request.computeId).status().commitLsn);
    await world.killSafekeeper(one);
    for (let a = 0; a < 10; a++) await client.query('insert into t values ($1)', [30_000 + a]);

    await world.killSafekeeper(two);
    let committed = false;
    const waiting = client.query('insert into t values (50000)').then(() => (committed = true));
    await systemClock.sleep(500);
    expect(committed).toBe(false);
    await world.startSafekeeper(one);
    await waiting;
    await world.startSafekeeper(two);
    await client.end();
    expect((await world.computes.stop(request.computeId, false)).state).toBe('stopped');
  });

  it('takes over from one of another endpoint, whose leases do not compare, but not from a newer one of its own', async () => {
    const { timelineId, ...first } = world.request({ fencingToken: 5 });
    await world.computes.start({ ...first, timelineId });
    await expect(world.computes.start(world.request({ timelineId, fencingToken: 4 }))).rejects.toMatchObject({ code: 'older-lease' });
    const second = world.request({ timelineId, endpointId: 'ep-test-test-2' as never, fencingToken: 1 });
    // It wins the term; the image of these tests is of the timeline's start only, where it was expected to begin.
    expect(second.expectedLsn).toBe(world.image.lsn);
    await expect(world.computes.start(second)).rejects.toMatchObject({ code: 'image-at-other-lsn' });
    await until(async () => world.computes.get(first.computeId).status().state === 'failed');
  });

  it('dies at once when another proposer wins a higher term: its next commit fails', async () => {
    const request = world.request();
    const status = await world.computes.start(request);
    const client = await world.connect(status.socketDirectory);
    await client.query('insert into t values (1)');
    const make = (): Walproposer => new Walproposer({
      proposerId: systemRandom.bytes(16).toString('hex'),
      identity: { timeline: request.timelineId, startLsn: request.timelineStartLsn, systemId: request.systemIdentifier, pgVersion: 17 },
      membership: world.services.membership,
      safekeepers: world.nodes.map((node) => grpcSafekeeper({ node, client: world.client(node).as(request.timelineToken), timeline: request.timelineId, onPageserver: () => undefined })),
      clock: systemClock,
      log: silentLog(),
      onCommit: () => undefined,
      onPressure: () => undefined,
    });
    const before = world.computes.get(request.computeId).status().commitLsn;
    const { walproposer, leadership } = await electWalproposer(make, { clock: systemClock, signal: AbortSignal.timeout(20_000) });
    expect(leadership.term).toBeGreaterThan(status.term);
    expect(leadership.startLsn).toBeGreaterThanOrEqual(before);
    await expect(client.query('insert into t values (2)')).rejects.toThrow();
    await until(() => world.computes.get(request.computeId).state === 'failed');
    expect(world.computes.get(request.computeId).status().failure).toMatch(/term \d+ is lost/);
    walproposer.abort();
  });

  it('that is killed has failed, says why, and leaves nothing behind', async () => {
    const request = world.request();
    const status = await world.computes.start(request);
    const { root, data } = computeDirectory(world.services.computesDirectory, request.computeId);
    process.kill(Number(readFileSync(`${data}/postmaster.pid`, 'utf8').split('\n')[0]), 'SIGKILL');
    await until(() => world.computes.get(request.computeId).state === 'failed' && !existsSync(root));
    expect(world.computes.get(request.computeId).status().failure).toMatch(/postgres ended \(signal SIGKILL\)/);
    await expect(world.computes.start(request)).rejects.toThrow(/is failed/);
    expect(status.socketDirectory).not.toBe('');
  });

  it('tells of an end that nobody asked for at once, and of every end until it is heard and no news any more', async () => {
    const ends = jest.fn();
    world.computes.onUnaskedEnd(ends);
    const [asked, unasked] = [world.request(), world.request()];
    await world.computes.start(asked);
    await world.computes.start(unasked);
    await world.computes.stop(asked.computeId, false);
    expect(ends).not.toHaveBeenCalled();
    const { data } = computeDirectory(world.services.computesDirectory, unasked.computeId);
    process.kill(Number(readFileSync(`${data}/postmaster.pid`, 'utf8').split('\n')[0]), 'SIGKILL');
    await until(() => ends.mock.calls.length > 0);
    expect(ends).toHaveBeenCalledTimes(1);

    const told = () => world.computes.report().computes.filter((c) => [asked.computeId, unasked.computeId].includes(c.computeId));
    expect(told().map((c) => c.state)).toEqual(['stopped', 'failed']);
    const later = systemClock.monotonic() + 60_000;
    const clock = jest.spyOn(world.services.clock, 'monotonic').mockReturnValue(later);
    expect(told()).toHaveLength(2);
    world.computes.heard(told().slice(1));
    expect(told().map((c) => c.state)).toEqual(['stopped']);
    clock.mockRestore();
    expect(told()).toHaveLength(2);
    expect(world.computes.get(unasked.computeId).status().state).toBe('failed');
  });

  it('that is ended at once while it is being suspended is over, and gives everything back once', async () => {
    const request = world.request();
    await world.computes.start(request);
    const give = jest.spyOn(world.services.users, 'give');
    const suspending = world.computes.stop(request.computeId, false).catch((error: Error) => error);
    const ended = await world.computes.stop(request.computeId, true);
    await suspending;
    expect(['stopped', 'failed']).toContain(ended.state);
    expect(world.computes.get(request.computeId).isOver).toBe(true);
    expect(give).toHaveBeenCalledTimes(1);
    give.mockRestore();
    expect(existsSync(computeDirectory(world.services.computesDirectory, request.computeId).root)).toBe(false);
  });

  it('gives up finding out how much it holds when it is stopped, and nobody hears of that', async () => {
    let held: AbortSignal | undefined;
    const warn = jest.spyOn(world.services.log, 'warn');
    const estimated = (client: PageserverClient): PageserverClient => ({
      ...client,
      as: (token) => estimated(client.as(token)),
      getComputeImage: async function* (request, options) {
        for await (const part of client.getComputeImage(request, options))
          yield part.kind === 'header' ? { kind: 'header', value: { ...part.value, logicalIsEstimate: true } } : part;
      },
      getTimelineStatus: (request, options) => {
        if (held) return client.getTimelineStatus(request, options);
        const signal = (held = options!.signal!);
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
      },
    });
    const { ComputeRegistry } = await import('./compute-registry');
    const services = { ...world.services, pageserver: estimated(world.services.pageserver) };
    const computes = new ComputeRegistry(services, { maxComputes: 10, memoryBytes: 0, startsAtOnce: 4, nodeMemory: readNodeMemory });
    const request = world.request();
    await computes.start(request);
    expect(held?.aborted).toBe(false);
    await computes.stop(request.computeId, true);
    expect(held?.aborted).toBe(true);
    await systemClock.sleep(50);
    expect(warn).not.toHaveBeenCalledWith(expect.anything(), 'the size of a branch stays an estimate');
    warn.mockRestore();
  });

  it('cannot start without a majority, says so, and leaves nothing behind', async () => {
    await world.killSafekeeper(world.nodes[0]!);
    await world.killSafekeeper(world.nodes[1]!);
    const limits = { ...world.services.limits, startDeadlineMs: 1_500 };
    const { ComputeRegistry } = await import('./compute-registry');
    const computes = new ComputeRegistry({ ...world.services, limits }, { maxComputes: 10, memoryBytes: 0, startsAtOnce: 4, nodeMemory: readNodeMemory });
    await expect(computes.start(world.request())).rejects.toMatchObject({ kind: 'Unavailable', code: 'no-quorum', message: expect.stringContaining('reached: sk3') });
    await world.startSafekeeper(world.nodes[0]!);
    await world.startSafekeeper(world.nodes[1]!);
    expect(readdirSync(world.services.computesDirectory).filter((n) => /^[0-9a-f]{12}$/.test(n))).toEqual([]);
  });

  it('reports that it is used', async () => {
    const request = world.request({ setupSql: ['create role app login'] });
    const status = await world.computes.start(request);
    const client = await world.connect(status.socketDirectory, 'app');
    await client.query('begin');
    const from = systemClock.now();
    await until(() => world.computes.get(request.computeId).status().lastActiveUnixMs > from + 1_000);
    await client.end();
    await systemClock.sleep(1_200);
    const quiet = world.computes.get(request.computeId).status().lastActiveUnixMs;
    await systemClock.sleep(1_500);
    expect(world.computes.get(request.computeId).status().lastActiveUnixMs).toBe(quiet);
    await world.computes.stop(request.computeId, true);
    expect(world.computes.get(request.computeId).state).toBe('stopped');
  });
});

async function readRecords(world: AgentWorld, timelineId: ReturnType<AgentWorld['request']>['timelineId'], until: Lsn): Promise<string[]> {
  const records: string[] = [];
  const decoder = new WalStreamDecoder(toLsnNumber(world.image.lsn));
  const request = { timelineId, fromLsn: world.image.lsn, untilLsn: until, uncommitted: false, term: 0 as never };
  for await (const { wal } of world.client(world.nodes[0]!).readWal(request)) {
    decoder.push(wal, (record) => records.push(`${record.rmgr}/${(record.info & 0xf0).toString(16)}`));
  }
  return records;
}

/** `undefined` while the connection to a safekeeper that was down is not made anew. */
async function flushLsn(world: AgentWorld, node: AgentWorld['nodes'][number], timelineId: ReturnType<AgentWorld['request']>['timelineId']): Promise<Lsn | undefined> {
  return world.client(node).getTimelineStatus({ timelineId }).then((s) => s.flushLsn, () => undefined);
}

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  for (let waited = 0; waited < 20_000; waited += 50) {
    if (await condition()) return;
    await systemClock.sleep(50);
  }
  throw new Error('it does not come true within 20 s');
}
