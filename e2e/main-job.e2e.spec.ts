/** The main job of a user: create, query, fork, rewind, sleep. */
import type { BranchHandle, Fingerprint } from '@coppice/testing';
import {
  FULL,
  amcheck,
  fingerprint,
  fork,
  pgbench,
  pgDump17,
  SCHEMA,
  sequenceFaults,
  sql,
  Stack,
  VECTOR_SCHEMA,
  withClient,
  withVector,
} from '@coppice/testing';

jest.setTimeout(600_000);

/** Of 100,000 accounts each. */
const SCALE = FULL ? 10 : 1;
/** Each is read whole, twice: as it came, and by amcheck. */
const FORKS = FULL ? 3 : 2;
/** The many rows of pgbench are compared otherwise. */
const ROWS_APART = '--exclude-table-data=pgbench_*';

describe('a project on a real stack', () => {
  let stack: Stack;
  let project: string;
  let main: BranchHandle;

  beforeAll(async () => {
    stack = await Stack.start(withVector());
    const made = await stack.ask('POST', '/projects', { project: { name: 'shop' } });
    project = made.project.id;
    main = {
      id: made.branch.id,
      endpoint: made.endpoints[0].id,
      uri: made.connection_uris[0].connection_uri,
    };
  });
  afterAll(() => stack?.remove());

  const suspend = async (endpoint: string): Promise<void> =>
    void (await stack.ask('POST', `/projects/${project}/endpoints/${endpoint}/suspend`));

  /** Everything is as it was; sequences may have skipped values, as after any restart from the log. */
  const expectSame = async (uri: string, before: Fingerprint): Promise<void> => {
    const now = await fingerprint(uri);
    expect(now.parts).toEqual(before.parts);
    expect(sequenceFaults(now, before)).toEqual([]);
  };

  it('answers the first query of a database that was just created', async () => {
    expect(await sql(main.uri, 'select current_user, current_database()')).toEqual([
      { current_user: 'neondb_owner', current_database: 'neondb' },
    ]);
  });

  it(`holds a schema with every index type, and pgbench at scale ${SCALE}`, async () => {
    await sql(main.uri, ...SCHEMA, ...(withVector() ? VECTOR_SCHEMA : []));
    await pgbench(main.uri, '-i', '-s', String(SCALE), '-q');
    await pgbench(main.uri, '-c', '4', '-j', '2', '-t', '250');
    expect(await sql(main.uri, 'select count(*)::int as n from pgbench_history')).toEqual([{ n: 1000 }]);
  });

  it(`forks ${FORKS} times; every branch holds what its parent held and sees exactly its own writes`, async () => {
    const before = await fingerprint(main.uri);
    const branches = [];
    for (let i = 0; i < FORKS; i += 1) branches.push(await fork(stack, project, { name: `try-${i}` }));
    for (const b of branches) await expectSame(b.uri, before);
    const dumped = await pgDump17(main.uri, ROWS_APART);
    for (const b of dumped === undefined ? [] : branches)
      expect((await pgDump17(b.uri, ROWS_APART)) === dumped).toBe(true);
    await sql(main.uri, "insert into audit (what) values ('main')", 'drop table events cascade');
    for (const [i, b] of branches.entries()) {
      await sql(
        b.uri,
        `insert into audit (what) values ('branch ${i}')`,
        `update items set code = -code - ${i * 10000} where id <= 100`,
        'vacuum items',
        `create table only_${i} (a int)`,
      );
      await pgbench(b.uri, '-c', '2', '-t', '100', '-n');
    }
    for (const [i, b] of branches.entries()) {
      expect(await sql(b.uri, "select what from audit where what = 'main' or what like 'branch%'")).toEqual([
        { what: `branch ${i}` },
      ]);
      expect(
        await sql(
          b.uri,
          "select string_agg(relname, ',') as own from pg_class where relname like 'only\\_%'",
        ),
      ).toEqual([{ own: `only_${i}` }]);
      expect(await sql(b.uri, 'select count(*)::int as n from events')).toEqual([{ n: 8000 }]);
      expect(await sql(b.uri, 'select count(*)::int as n from pgbench_history')).toEqual([{ n: 1200 }]);
      if (FULL || i === 0) expect(await amcheck(stack, b.endpoint)).toBe('');
      await suspend(b.endpoint);
    }
    await expect(sql(main.uri, 'select from events')).rejects.toMatchObject({ code: '42P01' });
  });

  it('forks a fork of a fork', async () => {
    let parent: BranchHandle = main;
    for (let depth = 1; depth <= 3; depth += 1) {
      const child = await fork(stack, project, { name: `depth-${depth}`, parent_id: parent.id });
      await sql(child.uri, `insert into audit (what) values ('depth ${depth}')`);
      parent = child;
    }
    expect(await sql(parent.uri, "select what from audit where what like 'depth%' order by n")).toEqual(
      [1, 2, 3].map((d) => ({ what: `depth ${d}` })),
    );
    expect(await amcheck(stack, parent.endpoint)).toBe('');
  });

  it('goes back to a position and to a time before a table was dropped', async () => {
    await sql(
      main.uri,
      'create table precious as select i, md5(i::text) as h from generate_series(1, 1000) i',
      'create index on precious (h)',
    );
    const [{ at, lsn }] = (await sql(
      main.uri,
      'select clock_timestamp() as at, pg_current_wal_lsn()::text as lsn',
    )) as [{ at: Date; lsn: string }];
    await new Promise((r) => setTimeout(r, 1100));
    await sql(main.uri, 'drop table precious', "insert into audit (what) values ('after the drop')");
    await expect(sql(main.uri, 'select from precious')).rejects.toMatchObject({ code: '42P01' });
    const byLsn = await fork(stack, project, { name: 'by-lsn', parent_lsn: lsn });
    const byTime = await fork(stack, project, {
      name: 'by-time',
      parent_timestamp: new Date(at.getTime() + 500).toISOString(),
    });
    for (const branch of [byLsn, byTime]) {
      expect(
        await sql(branch.uri, 'select count(*)::int as n, count(distinct h)::int as d from precious'),
      ).toEqual([{ n: 1000, d: 1000 }]);
      expect(
        await sql(branch.uri, "select count(*)::int as n from audit where what = 'after the drop'"),
      ).toEqual([{ n: 0 }]);
    }
    await expectSame(byTime.uri, await fingerprint(byLsn.uri));
    for (const branch of FULL ? [byLsn, byTime] : [byTime])
      expect(await amcheck(stack, branch.endpoint)).toBe('');
  });

  it('sleeps and wakes with everything in place', async () => {
    const before = await fingerprint(main.uri);
    for (let round = 0; round < (FULL ? 2 : 1); round += 1) {
      await suspend(main.endpoint);
      expect(
        (await stack.ask('GET', `/projects/${project}/endpoints`)).endpoints.find(
          (e: { id: string }) => e.id === main.endpoint,
        ).current_state,
      ).toBe('idle');
      await expectSame(main.uri, before);
    }
    expect(await amcheck(stack, main.endpoint)).toBe('');
  });

  it('keeps a prepared transaction and two databases over a sleep', async () => {
    await withClient(main.uri, async (c) => {
      await c.query('create database side');
      await c.query('create database side_copy template side strategy file_copy');
      await c.query('begin');
      await c.query("insert into audit (what) values ('prepared')");
      await c.query("prepare transaction 'p1'");
    });
    const side = main.uri.replace('/neondb?', '/side_copy?');
    await sql(side, 'create table there as select 1 as a');
    await suspend(main.endpoint);
    expect(await sql(side, 'select a from there')).toEqual([{ a: 1 }]);
    await sql(main.uri, "commit prepared 'p1'");
    expect(await sql(main.uri, "select count(*)::int as n from audit where what = 'prepared'")).toEqual([
      { n: 1 },
    ]);
  });

  it('finds all data after the stack went down and up', async () => {
    const before = await fingerprint(main.uri);
    await stack.down();
    await stack.up();
    await expectSame(main.uri, before);
  });

  it('logs nothing that someone must look at', () => {
    expect(stack.troubledLines()).toEqual([]);
  });
});
