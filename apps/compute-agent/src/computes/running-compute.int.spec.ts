/** What the control-plane asks of a compute that runs: SQL, limits, what it was used for, a quick end. */
import { existsSync, readFileSync } from 'node:fs';
import type { ComputeStatus, StartComputeRequest } from '@coppice/contracts';
import { systemClock } from '@coppice/service-kit';
import type { Client } from 'pg';
import { missSeconds } from '../page-source/metrics';
import { WarmSets } from '../pageserver/warm-sets';
import { READER_ROLE } from '../prepare/settings';
import type { SqlRequest } from '../sql/run-sql';
import { AgentWorld } from './agent-world.fixture';
import { computeDirectory } from './compute-directory';

jest.setTimeout(120_000);

const MIB = 1024 * 1024;

describe('a compute that runs', () => {
  let world: AgentWorld;
  let request: StartComputeRequest;
  let status: ComputeStatus;
  let client: Client;
  beforeAll(async () => (world = await AgentWorld.start()));
  afterAll(() => world?.dispose());
  beforeEach(async () => {
    request = world.request({ setupSql: ['create role app login superuser'] });
    status = await world.computes.start(request);
    client = await world.connect(status.socketDirectory, 'app');
  });
  afterEach(async () => {
    await client.end();
    await world.computes.stop(request.computeId, true);
  });

  const sql = (statements: readonly string[], over: Partial<SqlRequest> = {}) =>
    world.computes.get(request.computeId).running.runSql(
      {
        database: 'postgres',
        statements,
        readOnly: false,
        deadlineMs: 0,
        maxResultBytes: 0,
        separate: false,
        ...over,
      },
      new AbortController().signal,
    );
  const report = async () => (await world.computes.reports()).find((r) => r.computeId === request.computeId)!;

  describe('runs SQL', () => {
    it('and answers with names, values as text, and tags', async () => {
      expect(
        await sql([
          'select 1 as one, null as none, true as yes',
          'create role r',
          "select 'x' as a, 'y' as a where false",
        ]),
      ).toEqual([
        { columns: ['one', 'none', 'yes'], rows: [['1', null, 't']], commandTag: 'SELECT 1' },
        { columns: [], rows: [], commandTag: 'CREATE ROLE' },
        { columns: ['a', 'a'], rows: [], commandTag: 'SELECT 0' },
      ]);
      expect((await client.query("select from pg_roles where rolname = 'r'")).rowCount).toBe(1);
    });
    it('all of it or nothing', async () => {
      await expect(sql(['create role r', 'create role r'])).rejects.toMatchObject({
        kind: 'Conflict',
        code: 'sql-error',
        sqlstate: '42710',
        message: expect.stringMatching(/^statement 2: .*already exists/),
      });
      expect((await client.query("select from pg_roles where rolname = 'r'")).rowCount).toBe(0);
    });
    it('one by one when asked to, as databases must be made', async () => {
      await expect(sql(['create database d'])).rejects.toMatchObject({ kind: 'Invalid', sqlstate: '25001' });
      await sql(['create database d', 'create role r'], { separate: true });
      expect((await sql(['select current_database()'], { database: 'd' }))[0]!.rows).toEqual([['d']]);
    });
    it('that cannot write where it says so', async () => {
      expect(
        (await sql(['select count(*) from pg_catalog.pg_class'], { readOnly: true }))[0]!.columns,
      ).toEqual(['count']);
      await expect(sql(['create role r'], { readOnly: true })).rejects.toMatchObject({
        kind: 'Forbidden',
        sqlstate: '25006',
      });
      await expect(
        sql(['commit', 'begin read write', 'create role r'], { readOnly: true }),
      ).rejects.toMatchObject({ sqlstate: '25006' });
    });
    it('that sees no names of users unless they are qualified', async () => {
      await client.query("create function public.lower(text) returns text language sql as $$select 'mine'$$");
      expect((await sql(["select lower('X')"]))[0]!.rows).toEqual([['x']]);
      await expect(sql(['select * from t'])).rejects.toMatchObject({ kind: 'Invalid', sqlstate: '42P01' });
      await sql(['select * from public.t']);
    });
    it('one command at a time', async () => {
      await expect(sql(['select 1; drop role app'])).rejects.toMatchObject({ sqlstate: '42601' });
    });
    it('within its deadline, after which nothing of it goes on', async () => {
      const started = systemClock.now();
      await expect(sql(['create role r', 'select pg_sleep(30)'], { deadlineMs: 500 })).rejects.toMatchObject({
        kind: 'Unavailable',
      });
      expect(systemClock.now() - started).toBeLessThan(2_000);
      await until(
        async () =>
          (await client.query("select from pg_stat_activity where application_name = 'coppice-control'"))
            .rowCount === 0,
      );
      expect((await client.query("select from pg_roles where rolname = 'r'")).rowCount).toBe(0);
    });
    it('up to a number of bytes', async () => {
      await expect(
        sql(["select repeat('x', 1000) from generate_series(1, 1000000)"], { maxResultBytes: 100_000 }),
      ).rejects.toMatchObject({ kind: 'QuotaExceeded', code: 'result-too-large' });
      await expect(sql(Array<string>(1_001).fill('select 1'))).rejects.toMatchObject({
        code: 'sql-request-too-large',
      });
    });
    it('and does not count that as use', async () => {
      await client.end();
      await systemClock.sleep(1_200);
      const before = await report();
      for (let i = 0; i < 5; i++) {
        await sql(['select pg_sleep(0.2)']);
        await systemClock.sleep(300);
      }
      await systemClock.sleep(1_200);
      const after = await report();
      expect(after.lastActiveUnixMs).toBe(before.lastActiveUnixMs);
      // A second of it was our own; what is left is how well that can be told.
      expect(after.activeMs! - before.activeMs!).toBeLessThan(250);
      client = await world.connect(status.socketDirectory, 'app');
    });
    it('only while it runs', async () => {
      await world.computes.stop(request.computeId, true);
      expect(() => sql(['select 1'])).toThrow(/is stopped/);
    });
  });

  it('gets its role for readers when the branch lacks it', async () => {
    await until(
      async () =>
        (await client.query('select from pg_roles where rolname = $1', [READER_ROLE])).rowCount === 1,
    );
    expect(
      (await client.query(`select pg_has_role('${READER_ROLE}', 'pg_read_all_data', 'usage') as it`)).rows,
    ).toEqual([{ it: true }]);
  });

  it('takes another storage limit at once, a lower and a higher one, and other units', async () => {
    const limit = (bytes: number, computeUnits = 0) =>
      world.computes.setLimits({ computeId: request.computeId, storageLimitBytes: bytes, computeUnits });
    const fill = () =>
      client.query(
        "create table if not exists f (a text); insert into f select repeat('x', 1000) from generate_series(1, 20000)",
      );
    await fill();
    await limit((await report()).logicalSizeBytes! + MIB);
    await expect(fill()).rejects.toMatchObject({ code: '53100' });
    await limit((await report()).logicalSizeBytes! + 100 * MIB);
    await fill();
    await limit(1);
    await expect(fill()).rejects.toMatchObject({ code: '53100' });
    expect((await client.query('select count(*)::int as n from f')).rows).toEqual([{ n: 40_000 }]);
    await limit(0);
    await fill();

    expect((await client.query('show jit')).rows).toEqual([{ jit: 'off' }]);
    await limit(0, 2);
    await until(async () => ((await client.query('show jit')).rows[0] as { jit: string }).jit === 'on');
    expect((await limit(0, 0.25)).state).toBe('running');
    await until(async () => ((await client.query('show jit')).rows[0] as { jit: string }).jit === 'off');
  });

  it('reports a size that agrees with the main forks that PostgreSQL has', async () => {
    await client.query(
      "create table big as select g, repeat('x', 500) from generate_series(1, 100000) g; create index on big (g)",
    );
    await client.query('create database other');
    await client.query('delete from big where g % 2 = 0; drop table t');
    await client.query('vacuum big');
    await client.query('checkpoint');
    const { rows } = await client.query<{ bytes: string }>(
      `select sum(size) as bytes from (
         select 'global/' || f as path from pg_ls_dir('global') f
         union all select 'base/' || d || '/' || f from pg_ls_dir('base') d, lateral pg_ls_dir('base/' || d) f where d ~ '^[0-9]+$'
       ) files, pg_stat_file(path) where path ~ '/[0-9]+([.][0-9]+)?$'`,
    );
    const { logicalSizeBytes } = await report();
    expect(Math.abs(logicalSizeBytes! / Number(rows[0]!.bytes) - 1)).toBeLessThan(0.01);
    await world.computes.stop(request.computeId, false);
    expect((await report()).logicalSizeBytes).toBeGreaterThan(50 * MIB);
  });

  it('reports how long it was used, of that it ran, to the end', async () => {
    const from = systemClock.monotonic();
    await client.query('select pg_sleep(0.2)');
    await client.query('begin');
    await systemClock.sleep(250);
    await client.query('commit');
    const workedMs = systemClock.monotonic() - from;
    // An idle session tells the statistics within 10 s.
    await until(async () => (await report()).activeMs! > 430);
    const used = await report();
    expect(used.activeMs).toBeLessThan(workedMs + 300);
    expect(used.runningMs).toBeGreaterThan(450);
    expect(used.look).toBeDefined();
    await client.query('begin; select pg_sleep(0.3)');
    const stopped = world.computes.stop(request.computeId, false);
    await stopped;
    const last = await report();
    expect(last.activeMs).toBeGreaterThan(used.activeMs! + 290);
    // Its process id may be another one's; what that takes is not this one's.
    expect(last.look).toBeUndefined();
    await systemClock.sleep(100);
    expect(await report()).toEqual(last);
  });

  it('counts as used all of its time when it ends before anybody has looked', async () => {
    const other = world.request();
    const { socketDirectory } = await world.computes.start(other);
    const user = await world.connect(socketDirectory);
    await user.query('select 1');
    await user.end();
    await systemClock.sleep(300);
    await world.computes.stop(other.computeId, false);
    const { computes } = await world.computes.report();
    const last = computes.find((c) => c.computeId === other.computeId)!;
    // What it runs after its use was told is the shutdown.
    expect(last.activeMs).toBeGreaterThan(300);
    expect(last.activeMs).toBeLessThanOrEqual(last.runningMs!);
  });

  it('reads little from storage when it is first looked at, as others were before', async () => {
    Object.assign(world.services, { looks: new WarmSets() });
    const misses = async (): Promise<number> =>
      (await missSeconds.get()).values.find((v) => v.metricName?.endsWith('_count'))?.value ?? 0;
    const missesOfLook = async (): Promise<number> => {
      const other = world.request();
      await world.computes.start(other);
      const before = await misses();
      await world.computes.lookAt(other.computeId, new AbortController().signal);
      const missed = (await misses()) - before;
      expect(world.computes.get(other.computeId).running.activity.seen).toEqual({ reasons: [], held: false });
      await world.computes.stop(other.computeId, false);
      return missed;
    };
    const [first, second] = [await missesOfLook(), await missesOfLook()];
    console.info(`misses of a first look: ${first}, and ${second} once it was learned`);
    expect(first).toBeGreaterThan(30);
    expect(second).toBeLessThan(first / 5);
  });

  it('asks the kernel for huge pages for its shared memory', async () => {
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    // Kept for it, or where there is none the kernel's.
    const ofTheServer = /\/memfd:coppice-shared-memory|\/dev\/zero \(deleted\)/;
    const shared = readFileSync(`/proc/${rows[0]!.pid}/smaps`, 'latin1')
      .split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
      .filter((mapping) => ofTheServer.test(mapping));
    const flags = shared.map((mapping) => /^VmFlags:(.*)$/m.exec(mapping)?.[1]?.trim().split(' '));
    expect(flags).toEqual([expect.arrayContaining(['hg'])]);
  });

  it('ends at once when it must, with its processes gone', async () => {
    const took: number[] = [];
    for (let i = 0; i < 7; i++) {
      const other = world.request();
      const { socketDirectory } = await world.computes.start(other);
      const busy = await world.connect(socketDirectory);
      await busy.query('create table n as select generate_series(1, 10000)');
      busy.query('select pg_sleep(60)').catch(() => undefined);
      await systemClock.sleep(50);
      const started = systemClock.monotonic();
      expect((await world.computes.stop(other.computeId, true)).state).toBe('stopped');
      took.push(systemClock.monotonic() - started);
      expect(existsSync(computeDirectory(world.services.computesDirectory, other.computeId).root)).toBe(
        false,
      );
    }
    console.info('immediate stops, ms:', took.map((ms) => ms.toFixed(1)).join(' '));
    expect(Math.min(...took)).toBeLessThan(100);
  });
});

async function until(done: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (await done()) return;
    await systemClock.sleep(50);
  }
  throw new Error('it does not come');
}
