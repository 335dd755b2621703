import { silentLog } from '@coppice/service-kit';
import { startPostgres, type TestPostgres } from '@coppice/testing';
import type { TimelineId } from '@coppice/vocabulary';
import { sql } from 'kysely';
import {
  barTimeline,
  type Catalog,
  countDue,
  countIdleComputes,
  countRunningComputes,
  type Db,
  DUE_KINDS,
  dueQuery,
  estimatePopulation,
  expireCheckpoints,
  expireCredentials,
  findDue,
  findIdleComputes,
  forgetTimeline,
  openCatalog,
  purgeBranches,
  purgeProjects,
} from './index';

const NOW = new Date('2026-06-01T00:00:00Z');
const TABLES = [
  'projects',
  'branches',
  'timelines',
  'endpoints',
  'computes',
  'credentials',
  'roles',
  'databases',
  'checkpoints',
];
/** Branches in 1,000 projects, all idle; of each kind of thing one in a thousand is due. */
const FLEET = [
  `insert into agents (id, name, created_at, updated_at) values ('a', 'a', '2026-01-01', '2026-01-01')`,
  `insert into timelines (id, depth, pg_version, created_at) values (md5('template'), 0, 17, '2026-01-01')`,
  `insert into projects (id, agent_id, name, pg_version, default_branch_id, history_retention_seconds, suspend_timeout_seconds, created_at, updated_at)
    select 'p' || p, 'a', 'p', 17, 'b' || p, 86400, 300, '2026-01-01', '2026-01-01' from generate_series(0, 999) p`,
  `insert into projects (id, agent_id, name, pg_version, default_branch_id, history_retention_seconds, suspend_timeout_seconds, created_at, updated_at, deleted_at, recoverable_until)
    select 'gone' || p, 'a', 'p', 17, '', 86400, 300, '2026-01-01', '2026-01-01', '2026-05-01', timestamptz '2026-05-31' + p * interval '1 hour' from generate_series(0, 999) p`,
  `insert into timelines (id, project_id, ancestor_id, ancestor_lsn, depth, pg_version, created_at, purge_due_at)
    select md5(b::text), 'p' || b % 1000, md5('template'), '0/1000000', 1, 17, '2026-01-01', case when b % 1000 = 7 then timestamptz '2026-05-31' end from generate_series(0, 99999) b`,
  `insert into branches (id, project_id, name, timeline_id, is_default, is_protected, created_at, updated_at, ttl_kind, ttl_seconds, expires_at, deleted_at, recoverable_until)
    select 'b' || b, 'p' || b % 1000, 'n' || b, md5(b::text), b < 1000, false, '2026-01-01', '2026-01-01', 'idle', 3600,
      timestamptz '2026-06-01' + (b % 1000 - 1) * interval '1 minute',
      case when b % 10 = 3 then timestamptz '2026-05-25' end, case when b % 10 = 3 then timestamptz '2026-06-01' + (b % 1000 - 3) * interval '1 minute' end
    from generate_series(0, 99999) b`,
  `insert into endpoints (id, project_id, branch_id, type, suspend_timeout_seconds, min_compute_units, max_compute_units, created_at, updated_at)
    select 'e' || b, 'p' || b % 1000, 'b' || b, 'read_write', 300, 0.25, 1, '2026-01-01', '2026-01-01' from generate_series(0, 99999) b`,
  `insert into computes (id, endpoint_id, branch_id, project_id, timeline_id, node_id, incarnation, fencing_token, state, suspend_timeout_seconds, idle_due_at, created_at)
    select 'c' || b, 'e' || b, 'b' || b, 'p' || b % 1000, md5(b::text), 'n', 'i', 1, case when b % 1000 = 1 then 'running' else 'stopped' end, 300,
      case when b % 1000 = 1 then timestamptz '2026-06-01' + (b - 50000) * interval '1 second' end, '2026-01-01' from generate_series(0, 99999) b`,
  `insert into roles (branch_id, name, created_at, updated_at) select 'b' || b, 'owner', '2026-01-01', '2026-01-01' from generate_series(0, 99999) b`,
  `insert into databases (branch_id, name, owner_name, created_at, updated_at) select 'b' || b, 'db', 'owner', '2026-01-01', '2026-01-01' from generate_series(0, 99999) b`,
  `insert into credentials (id, branch_id, role_name, version, kind, login, expires_at, created_at)
    select gen_random_uuid(), 'b' || b, 'owner', 1, 'scoped', 'l', timestamptz '2026-06-01' + (b % 1000) * interval '1 minute', '2026-01-01' from generate_series(0, 99999) b`,
  `insert into checkpoints (id, kind, project_id, branch_id, name, timeline_id, lsn, before_setup, expires_at, created_at)
    select 'ck' || b, 'checkpoint', 'p' || b % 1000, 'b' || b, 'x', md5(b::text), '0/1000000', false, timestamptz '2026-06-01' + (b % 1000) * interval '1 minute', '2026-01-01'
    from generate_series(0, 99999) b`,
  'vacuum analyze',
];

let server: TestPostgres;
let catalog: Catalog;
const timings: Record<string, number> = {};

beforeAll(async () => {
  server = await startPostgres();
  const { host, port } = server.connectionConfig();
  // One connection, so that its statistics can be flushed.
  catalog = openCatalog({
    host: host!,
    port: port!,
    user: 'postgres',
    database: 'postgres',
    maxConnections: 1,
    log: silentLog(),
  });
  await catalog.migrate();
  for (const statement of FLEET) await server.query(statement);
}, 180_000);
afterAll(async () => {
  await catalog?.close();
  await server?.dispose();
  console.info('milliseconds over 100,000 idle databases', timings);
});

async function timed<T>(name: string, work: () => Promise<T>): Promise<T> {
  const began = performance.now();
  const result = await work();
  timings[name] = Math.round((performance.now() - began) * 10) / 10;
  return result;
}

async function sequentialScans(): Promise<Record<string, number>> {
  await sql`select pg_stat_force_next_flush()`.execute(catalog.db);
  const rows = await server.query<{ relname: string; n: string }>(
    'select relname, seq_scan as n from pg_stat_user_tables where relname = any($1)',
    [TABLES],
  );
  return Object.fromEntries(rows.map((r) => [r.relname, Number(r.n)]));
}
const inTransaction = <T>(work: (tx: Db) => Promise<T>): Promise<T> => catalog.db.transaction().execute(work);

describe('what is due among 100,000 idle databases', () => {
  it.each(DUE_KINDS)('is found and counted through an index: %s', async (kind) => {
    const { rows } = await sql<{ 'QUERY PLAN': string }>`explain ${dueQuery(kind, NOW, 500)}`.execute(
      catalog.db,
    );
    const plan = rows.map((r) => r['QUERY PLAN']).join('\n');
    expect(plan).not.toContain('Seq Scan');
    const due = await timed(`find ${kind}`, () => findDue(catalog.db, kind, NOW, 1000));
    expect(due.length).toBeGreaterThanOrEqual(25);
    expect(due.length).toBeLessThanOrEqual(200);
    expect(await countDue(catalog.db, kind, NOW, 100_000)).toBe(due.length);
    const population = await timed(`population ${kind}`, () => estimatePopulation(catalog.db, kind));
    expect(population).toBeGreaterThan(kind === 'deleted-project' ? 1_900 : 90_000);
  });

  it('is removed without reading a table from end to end', async () => {
    const before = await sequentialScans();
    // The least of several: what else the machine does is no cost of the sweep.
    const sweeps: number[] = [];
    for (let i = 0; i < 5; i++) {
      const idle = await timed('idle sweep', async () => {
        await countRunningComputes(catalog.db);
        await countIdleComputes(catalog.db, NOW);
        return findIdleComputes(catalog.db, NOW, 1000);
      });
      expect(idle).toHaveLength(50);
      sweeps.push(timings['idle sweep']!);
    }
    expect(Math.min(...sweeps)).toBeLessThan(100);
    expect(
      await timed('credentials', () => inTransaction((tx) => expireCredentials(tx, NOW, 200))),
    ).toHaveLength(100);
    expect(
      await timed('checkpoints', () => inTransaction((tx) => expireCheckpoints(tx, NOW, 200))),
    ).toHaveLength(100);
    const branches = await timed('purge branches', () => inTransaction((tx) => purgeBranches(tx, NOW, 200)));
    expect(branches).toHaveLength(100);
    expect(
      await timed('purge projects', () => inTransaction((tx) => purgeProjects(tx, NOW, 200))),
    ).toHaveLength(25);
    const [timeline] = (await findDue(catalog.db, 'deleted-timeline', NOW, 1000)).filter((t) =>
      branches.some((b) => b.projectId === t.projectId),
    );
    const id = timeline!.id as TimelineId;
    expect(await timed('bar timeline', () => inTransaction((tx) => barTimeline(tx, id, NOW)))).toBeDefined();
    expect(await timed('forget timeline', () => inTransaction((tx) => forgetTimeline(tx, id, NOW)))).toBe(
      true,
    );
    expect(await sequentialScans()).toEqual(before);
  });
});
