/** What an agent sees of what a real server is used for. */
import type { StartComputeRequest } from '@coppice/contracts';
import { systemClock } from '@coppice/service-kit';
import { Client } from 'pg';
import { AgentWorld } from '../computes/agent-world.fixture';
import type { AwakeReason } from './awake';

jest.setTimeout(120_000);

const MIB = 1024 * 1024;

describe('what keeps a compute awake', () => {
  let world: AgentWorld;
  let request: StartComputeRequest;
  let app: Client;
  const sockets: string[] = [];
  beforeAll(async () => {
    world = await AgentWorld.start();
    request = world.request({
      setupSql: ['create role app login superuser'],
      settings: { autovacuum_naptime: '1' },
    });
    const { socketDirectory } = await world.computes.start(request);
    sockets.push(socketDirectory);
    app = await world.connect(socketDirectory, 'app');
  });
  afterAll(async () => {
    await app.end();
    await world.computes.stop(request.computeId, true);
    await world.dispose();
  });

  const look = async () => {
    const { lastActiveUnixMs } = await world.computes.lookAt(request.computeId, new AbortController().signal);
    const { computes } = await world.computes.report();
    return { lastActiveUnixMs, ...computes.find((c) => c.computeId === request.computeId)!.look! };
  };
  const reasons = async (kind: string): Promise<AwakeReason[]> =>
    (await look()).awakeReasons.filter((r) => r.kind === kind);

  it('is nothing when sessions are connected and idle, and counts what it takes', async () => {
    await look();
    await systemClock.sleep(50);
    const first = await look();
    await systemClock.sleep(50);
    const second = await look();
    expect(second).toMatchObject({ awakeReasons: [], held: false, lastActiveUnixMs: first.lastActiveUnixMs });
    expect(second.memoryBytes).toBeGreaterThan(4 * MIB);
    expect(second.memoryBytes).toBeLessThan(100 * MIB);
  });

  it('is a query, an open transaction, a prepared one: which, since when, and nothing of their text', async () => {
    const { rows } = await app.query('select pg_backend_pid() as pid');
    const { pid } = rows[0];
    const from = systemClock.now() - 1_000;
    const running = app.query("select pg_sleep(0.4), 'a secret'");
    await systemClock.sleep(100);
    expect(await reasons('query')).toMatchObject([{ pid, database: 'postgres', name: '' }]);
    await running;
    await app.query("begin; create table made(a int); select 'a secret'");
    const open = await look();
    expect(open.awakeReasons).toMatchObject([{ kind: 'transaction', pid, database: 'postgres' }]);
    expect(open.awakeReasons[0]!.sinceUnixMs).toBeGreaterThan(from);
    expect(open.lastActiveUnixMs).toBeGreaterThan(from);
    expect(JSON.stringify(open)).not.toContain('secret');
    await app.query("prepare transaction 'until-noon'");
    expect(await reasons('prepared-transaction')).toMatchObject([
      { name: 'until-noon', pid: 0, database: 'postgres' },
    ]);
    await app.query("rollback prepared 'until-noon'");
    expect((await look()).awakeReasons).toMatchObject([{ kind: 'session' }]);
    expect((await look()).awakeReasons).toEqual([]);
  });

  it('is a replication client, of which the own one is none', async () => {
    const replica = new Client({
      host: sockets[0]!,
      port: 5432,
      user: 'app',
      database: 'postgres',
      application_name: 'standby-7',
      replication: 'true',
    } as never);
    replica.on('error', () => undefined);
    await replica.connect();
    expect(await reasons('replication')).toMatchObject([{ name: 'standby-7', pid: expect.any(Number) }]);
    await replica.end();
  });

  it('is autovacuum while it runs, which is let finish and does not count as use', async () => {
    await app.query(
      'create table large as select g, repeat(md5(g::text), 20) as text from generate_series(1, 20000) g',
    );
    await app.query(
      'alter table large set (autovacuum_vacuum_cost_delay = 20, autovacuum_vacuum_cost_limit = 10, autovacuum_vacuum_threshold = 1)',
    );
    await app.query('delete from large where g % 2 = 0');
    await systemClock.sleep(300);
    const before = await look();
    for (let i = 0; i < 300 && (await reasons('autovacuum')).length === 0; i++) await systemClock.sleep(100);
    const seen = await look();
    expect(seen.held).toBe(true);
    expect(seen.awakeReasons).toMatchObject([
      { kind: 'autovacuum', name: expect.stringContaining('public.large'), database: 'postgres' },
    ]);
    expect(seen.lastActiveUnixMs).toBe(before.lastActiveUnixMs);
  });
});
