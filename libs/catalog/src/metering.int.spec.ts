import { silentLog } from '@coppice/service-kit';
import { startPostgres, type TestPostgres } from '@coppice/testing';
import { lsn } from '@coppice/vocabulary';
import { sql } from 'kysely';
import {
  addTransferred,
  type Catalog,
  findBranchesToMeasure,
  findLimitReached,
  findOverLimit,
  findStorageLimited,
  type MeasuredSize,
  meterComputes,
  openCatalog,
  purgeBranches,
  readBranchTotals,
  readConsumption,
  readProjectTotals,
  recordActivity,
  recordSizes,
} from './index';

let server: TestPostgres;
let catalog: Catalog;
const T0 = Date.UTC(2026, 0, 5, 10, 0, 0);
const at = (seconds: number): Date => new Date(T0 + seconds * 1000);
const HOUR = 3600;

beforeAll(async () => {
  server = await startPostgres();
  const { host, port } = server.connectionConfig();
  catalog = openCatalog({
    host: host!,
    port: port!,
    user: 'postgres',
    database: 'postgres',
    log: silentLog(),
  });
  await catalog.migrate();
  const text = at(0).toISOString();
  for (const statement of [
    `insert into agents (id, name, created_at, updated_at) values ('a1', 'a1', '${text}', '${text}'), ('a2', 'a2', '${text}', '${text}')`,
    `insert into timelines (id, depth, pg_version, created_at) values ('${'0'.repeat(32)}', 0, 17, '${text}')`,
    `insert into projects (id, agent_id, name, pg_version, default_branch_id, history_retention_seconds, suspend_timeout_seconds, created_at, updated_at)
       values ('p1', 'a1', 'p1', 17, 'br-a', 1, 0, '${text}', '${text}'), ('p2', 'a2', 'p2', 17, 'br-c', 1, 0, '${text}', '${text}')`,
    ...[
      ['br-a', 'p1', 'job/one'],
      ['br-b', 'p1', 'job/two'],
      ['br-c', 'p2', 'jobs'],
    ].map(
      ([id, project, task]) =>
        `insert into branches (id, project_id, name, timeline_id, is_default, is_protected, task_id, created_at, updated_at)
         values ('${id}', '${project}', '${id}', '${'0'.repeat(32)}', false, false, '${task}', '${text}', '${text}')`,
    ),
    ...['a', 'b', 'c'].map(
      (
        x,
      ) => `insert into endpoints (id, project_id, branch_id, type, suspend_timeout_seconds, min_compute_units, max_compute_units, created_at, updated_at)
         values ('ep-${x}', '${x === 'c' ? 'p2' : 'p1'}', 'br-${x}', 'read_write', 0, 1, 1, '${text}', '${text}')`,
    ),
  ])
    await sql.raw(statement).execute(catalog.db);
}, 60_000);
afterAll(async () => {
  await catalog?.close();
  await server?.dispose();
});

/** A branch of p1 with an endpoint. */
const branch = async (id: string, parent: string | undefined): Promise<void> => {
  await sql`insert into branches (id, project_id, name, parent_id, timeline_id, is_default, is_protected, created_at, updated_at)
    values (${id}, 'p1', ${id}, ${parent ?? null}, ${'0'.repeat(32)}, false, false, ${at(0)}, ${at(0)})`.execute(
    catalog.db,
  );
  await sql`insert into endpoints (id, project_id, branch_id, type, suspend_timeout_seconds, min_compute_units, max_compute_units, created_at, updated_at)
    values (${`ep-${id.slice(-1)}`}, 'p1', ${id}, 'read_write', 0, 1, 1, ${at(0)}, ${at(0)})`.execute(
    catalog.db,
  );
};

const size = (id: string, over: Partial<MeasuredSize>): MeasuredSize => ({
  branchId: id as never,
  logicalBytes: 0,
  ownBytes: 0,
  growthBytes: 0,
  isExact: true,
  ...over,
});

let made = 0;
/** A compute that runs since `runs` seconds after T0, with a CU of 2. */
const compute = async (branch: string, runs: number, lsn = '0/1000'): Promise<string> => {
  const id = `c${(made += 1)}`;
  const x = branch.slice(-1);
  await sql`insert into computes (id, endpoint_id, branch_id, project_id, timeline_id, node_id, incarnation, fencing_token, state, start_lsn, commit_lsn,
      suspend_timeout_seconds, created_at, running_at, compute_units)
    values (${id}, ${`ep-${x}`}, ${branch}, ${x === 'c' ? 'p2' : 'p1'}, ${'0'.repeat(32)}, 'n', 'i', 1, 'running', ${lsn}::pg_lsn, ${lsn}::pg_lsn, 0, ${at(runs)}, ${at(runs)}, 2)`.execute(
    catalog.db,
  );
  return id;
};
const commits = (id: string, lsn: string) =>
  sql`update computes set commit_lsn = ${lsn}::pg_lsn where id = ${id}`.execute(catalog.db);
const ends = (id: string, seconds: number) =>
  sql`update computes set state = 'stopped', ended_at = ${at(seconds)} where id = ${id}`.execute(catalog.db);
const meter = (seconds: number) =>
  meterComputes(catalog.db, { now: at(seconds), before: at(seconds - 10), limit: 100 });

describe('metering', () => {
  it('accounts for every second and byte of a run once, however often it looks', async () => {
    const id = await compute('br-a', 0);
    expect(await meter(5)).toBe(0);
    await commits(id, '0/1800');
    expect(await meter(60)).toBe(1);
    expect(await meter(60)).toBe(0);
    await commits(id, '0/2000');
    await Promise.all([meter(100), meter(100), meter(100)]);
    await ends(id, 120);
    expect(await meter(121)).toBe(1);
    expect(await meter(300)).toBe(0);
    const totals = (await readBranchTotals(catalog.db, ['br-a'], at(-HOUR))).get('br-a')!;
    expect(totals).toMatchObject({ active_seconds: 120, compute_unit_seconds: 240, written_bytes: 0x1000 });
  });

  it('tells of hours, also those without use, and holds sizes until they change', async () => {
    await addTransferred(
      catalog.db,
      [
        { endpointId: 'ep-a' as never, bytes: 500 },
        { endpointId: 'ep-no' as never, bytes: 9 },
      ],
      at(0),
    );
    await recordSizes(catalog.db, [size('br-a', { logicalBytes: 1000, ownBytes: 100 })], at(0));
    await recordSizes(catalog.db, [size('br-a', { logicalBytes: 3000, ownBytes: 300 })], at(2 * HOUR));
    const rows = await readConsumption(
      catalog.db,
      {
        by: 'branch',
        agentId: undefined,
        from: at(0),
        to: at(4 * HOUR),
        granularity: 'hour',
        now: at(3.5 * HOUR),
      },
      ['br-a'],
    );
    expect(rows.map((r) => r.logical_byte_hours)).toEqual([1000, 1000, 3000, 1500]);
    expect(rows.map((r) => r.own_bytes)).toEqual([100, 100, 300, 300]);
    expect(rows.map((r) => r.active_seconds)).toEqual([120, 0, 0, 0]);
    expect(rows[0]).toMatchObject({ transferred_bytes: 500, start: T0, stop: T0 + HOUR * 1000 });
  });

  it('adds up projects, agents and task trees, and nothing of others', async () => {
    const b = await compute('br-b', 0);
    await ends(b, 30);
    const c = await compute('br-c', 0);
    await ends(c, 50);
    await meter(60);
    const seconds = async (by: 'project' | 'agent' | 'task', key: string, agentId?: string) => {
      const day = { from: new Date(Date.UTC(2026, 0, 5)), to: new Date(Date.UTC(2026, 0, 6)) };
      const rows = await readConsumption(
        catalog.db,
        { by, agentId, ...day, granularity: 'day', now: at(HOUR) },
        [key],
      );
      return rows.map((r) => r.active_seconds);
    };
    expect(await seconds('project', 'p1')).toEqual([150]);
    expect(await seconds('agent', 'a2')).toEqual([50]);
    expect(await seconds('task', 'job')).toEqual([150]);
    expect(await seconds('task', 'job/two')).toEqual([30]);
    expect(await seconds('task', 'job', 'a2')).toEqual([0]);
    expect((await readProjectTotals(catalog.db, ['p1'], at(-HOUR))).get('p1')).toMatchObject({
      active_seconds: 150,
      own_bytes: 300,
    });
  });

  it('measures what ran since it was measured, and then leaves it alone', async () => {
    const due = async (seconds: number) =>
      (await findBranchesToMeasure(catalog.db, { before: at(seconds), limit: 10 }))
        .map((d) => d.branchId)
        .sort();
    expect(await due(130)).toEqual(['br-b', 'br-c']);
    await compute('br-b', 130);
    expect(await due(3 * HOUR)).toEqual(['br-b']);
  });
});

describe('limits', () => {
  const month = new Date(Date.UTC(2026, 0, 1));
  it('on compute seconds of an agent forbid starts and name running computes', async () => {
    expect(await findLimitReached(catalog.db, 'ep-b' as never, month)).toBeUndefined();
    await sql`update agents set max_compute_seconds = 299 where id = 'a1'`.execute(catalog.db);
    expect(await findLimitReached(catalog.db, 'ep-b' as never, month)).toMatchObject({
      limit: 'agent-compute-seconds',
      allowed: 299,
      used: 300,
    });
    expect(await findLimitReached(catalog.db, 'ep-c' as never, month)).toBeUndefined();
    expect((await findOverLimit(catalog.db, month, 10)).map((r) => r.limit)).toEqual([
      'agent-compute-seconds',
    ]);
    await sql`update agents set max_compute_seconds = null where id = 'a1'`.execute(catalog.db);
  });
  it('of a project do, too, and 0 is none', async () => {
    await sql`update projects set settings = '{"activeSeconds":0,"transferredBytes":500}' where id = 'p1'`.execute(
      catalog.db,
    );
    expect(await findLimitReached(catalog.db, 'ep-b' as never, month)).toMatchObject({
      limit: 'project-transferred-bytes',
      used: 500,
    });
  });
  it('on storage come with what is used', async () => {
    await sql`update agents set max_storage_bytes = 10000 where id = 'a1'`.execute(catalog.db);
    await sql`update projects set settings = '{"logicalSizeBytes":7000}' where id = 'p1'`.execute(catalog.db);
    expect(await findStorageLimited(catalog.db, { endpointId: 'ep-a' as never })).toMatchObject([
      { agentLimitBytes: 10_000, agentUsedBytes: 2000, branchLimitBytes: 7000, branchBytes: 3000 },
    ]);
    expect(await findStorageLimited(catalog.db, { endpointId: 'ep-c' as never })).toEqual([]);
    expect((await findStorageLimited(catalog.db, { afterId: '', limit: 10 })).map((s) => s.branchId)).toEqual(
      ['br-b'],
    );
  });
  it('on storage take a branch to be as large as the nearest above it that was measured', async () => {
    await branch('br-d', 'br-a');
    await branch('br-e', 'br-d');
    await branch('br-f', 'br-e');
    expect(await findStorageLimited(catalog.db, { endpointId: 'ep-f' as never })).toMatchObject([
      { branchId: 'br-f', branchBytes: 3000 },
    ]);
  });
});

describe('what a branch holds', () => {
  const held = async (id: string, over: Partial<MeasuredSize>): Promise<number> => {
    await recordSizes(catalog.db, [size(id, over)], at(0));
    const { rows } = await sql<{
      n: number;
    }>`select held_bytes as n from branch_sizes where branch_id = ${id}`.execute(catalog.db);
    return rows[0]!.n;
  };

  it('is, of a root, all but its template, also after a restore has begun a new timeline', async () => {
    expect(await held('br-c', { logicalBytes: 1500, growthBytes: 500 })).toBe(500);
    expect(await held('br-c', { logicalBytes: 1600, growthBytes: 600, ownBytes: 9000 })).toBe(600);
    expect(await held('br-c', { logicalBytes: 1600, growthBytes: 0 })).toBe(600);
    expect(await held('br-c', { logicalBytes: 1000, growthBytes: 0, ownBytes: 9000 })).toBe(0);
  });

  it('is nothing as long as the size of its template is not known for sure', async () => {
    await branch('br-h', undefined);
    expect(await held('br-h', { logicalBytes: 900, isExact: false })).toBe(0);
    expect(await held('br-h', { logicalBytes: 1500, growthBytes: 500 })).toBe(500);
  });

  it('is, of a fork, what it added or wrote anew, and no more than there is', async () => {
    await branch('br-i', 'br-a');
    await recordSizes(catalog.db, [size('br-a', { logicalBytes: 3000, growthBytes: 2000 })], at(0));
    expect(await held('br-i', { logicalBytes: 3000 })).toBe(0);
    expect(await held('br-i', { logicalBytes: 3100, growthBytes: 100, ownBytes: 150 })).toBe(150);
    expect(await held('br-i', { logicalBytes: 3000, ownBytes: 90_000 })).toBe(2000);
    expect(await held('br-i', { logicalBytes: 1000, ownBytes: 90_000 })).toBe(0);
  });

  it('counts no more once it is deleted', async () => {
    const used = async () =>
      (await findStorageLimited(catalog.db, { endpointId: 'ep-a' as never }))[0]!.agentUsedBytes;
    await held('br-i', { logicalBytes: 3100, growthBytes: 100 });
    const before = await used();
    await sql`update branches set deleted_at = ${at(300)} where id = 'br-i'`.execute(catalog.db);
    expect(await used()).toBe(before - 100);
  });
});

describe('a purge', () => {
  it('accounts first for runs of which nobody did', async () => {
    await branch('br-g', undefined);
    const id = await compute('br-g', 200);
    await ends(id, 230);
    await sql`update branches set deleted_at = ${at(240)}, recoverable_until = ${at(240)} where id = 'br-g'`.execute(
      catalog.db,
    );
    const purged = await catalog.db.transaction().execute((tx) => purgeBranches(tx, at(241), 10));
    expect(purged.map((b) => b.id)).toEqual(['br-g']);
    const { rows } = await sql<{
      s: number;
    }>`select active_seconds as s from usage_hours where branch_id = 'br-g'`.execute(catalog.db);
    expect(rows).toEqual([{ s: 30 }]);
  });
});

describe('computes that are scaled', () => {
  it('charges a run its sizes over time, from what was reported when they changed', async () => {
    await branch('br-y', undefined);
    const id = await compute('br-y', 0);
    const sizeIs = (units: number, unitSeconds: number, seconds: number) => {
      const report = {
        computeId: id as never,
        lastActiveAt: at(0),
        commitLsn: lsn(0x1000n),
        size: { units, unitSeconds },
      };
      return recordActivity(catalog.db, 'n' as never, [report], at(seconds));
    };
    const charged = async () =>
      (await readBranchTotals(catalog.db, ['br-y'], at(-HOUR))).get('br-y')!.compute_unit_seconds;
    await sizeIs(0.5, 5, 10);
    await meter(20);
    expect(await charged()).toBe(10);
    // It grew at 22 s, which is reported at 24 s; in between it was taken to be small still.
    await sizeIs(4, 19, 24);
    await sizeIs(4, 23, 25);
    await meter(34);
    expect(await charged()).toBe(59);
    // It shrank at 40 s, which is reported at 45 s: what was charged too much until then is made up for after.
    await meter(45);
    expect(await charged()).toBe(103);
    await sizeIs(0.5, 85.5, 45);
    await meter(56);
    expect(await charged()).toBe(103);
    await ends(id, 145);
    await meter(146);
    expect(await charged()).toBe(135.5);
  });
});
