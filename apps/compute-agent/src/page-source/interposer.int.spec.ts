import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestPostgres } from '@coppice/testing';
import { fingerprint, mixedOrigin, pgbench, soundness } from './mixed-data.fixture';
import { buildInterposer, SparseCluster } from './sparse-cluster.fixture';
import { blockRangeOf } from './tracked-names';

let library: string;
let origin: TestPostgres;
let expected: Record<string, string>;
let cluster: SparseCluster;

beforeAll(async () => {
  library = await buildInterposer();
  origin = await mixedOrigin();
  await origin.start();
  expected = await fingerprint(origin);
  await origin.stop();
});
afterAll(() => origin?.dispose());
beforeEach(async () => {
  cluster = await SparseCluster.start(origin, { library, settings: { autovacuum: false } });
});
afterEach(() => cluster?.dispose());

/** Runs statements one by one (some may not share a transaction); the rows of the last. */
async function sql(text: string, database = 'postgres'): Promise<Record<string, unknown>[]> {
  let rows: Record<string, unknown>[] = [];
  for (const statement of text.split(/;\s+/))
    rows = await cluster.server.query(statement, undefined, { database });
  return rows;
}

async function expectSound(database?: string): Promise<void> {
  expect(await soundness(cluster.server, database)).toEqual([]);
}

describe('a server whose blocks are not there yet', () => {
  it('answers its first query after fetching a small part of them', async () => {
    expect(await sql('select count(*)::int as n from docs where id between 100 and 199')).toEqual([
      { n: 100 },
    ]);
    expect(cluster.fetchedBlocks).toBeLessThan(400);
  });

  it('has the content of the original', async () => {
    expect(await fingerprint(cluster.server)).toEqual(expected);
    await expectSound();
  });

  it('finds the same rows through every kind of index', async () => {
    await sql('set enable_seqscan = off');
    const find = async (where: string): Promise<unknown> =>
      (await sql(`select count(*)::int as n from docs where ${where}`))[0]?.['n'];
    const wheres = [
      'k = 17',
      'k between 5 and 500',
      'tags @> array[5, 5]',
      `words @@ 'word7'::tsquery`,
      `area && box '((1,1),(5,5))'`,
      'span @> 777',
      'id > 19900',
    ];
    for (const where of wheres) {
      await sql('set enable_seqscan = off; set enable_indexscan = on; set enable_bitmapscan = on');
      const byIndex = await find(where);
      await sql(
        'set enable_seqscan = on; set enable_indexscan = off; set enable_bitmapscan = off; set enable_indexonlyscan = off',
      );
      expect([where, byIndex]).toEqual([where, await find(where)]);
    }
  });

  it('keeps the books of pgbench', async () => {
    await pgbench(cluster.server, ['-n', '-c', '8', '-T', '4']);
    const [sums] =
      await sql(`select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history) as a,
      (select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history) as t,
      (select sum(bbalance) from pgbench_branches) = (select sum(delta) from pgbench_history) as b`);
    expect(sums).toEqual({ a: true, t: true, b: true });
    await expectSound();
  });

  it('truncates by VACUUM and extends again', async () => {
    await sql('delete from tail where id > 2000');
    await sql('vacuum (truncate) tail');
    const [size] = await sql(`select pg_relation_size('tail') / 8192 < 400 as small`);
    expect(size).toEqual({ small: true });
    await sql(`insert into tail select i, repeat('x', 500) from generate_series(2001, 20000) i`);
    expect((await fingerprint(cluster.server, ['tail']))['tail']).toBe(expected['tail']);
    await expectSound();
  });

  it('rewrites, reindexes, empties and drops', async () => {
    await sql('vacuum full docs');
    await sql('reindex database postgres');
    await sql('create index tail_id on tail (id); cluster tail using tail_id');
    await sql('truncate doomed; insert into doomed values (1); drop table scratch; drop index docs_words');
    await sql('checkpoint');
    await sql('create table doomed2 as select * from tail');
    const now = await fingerprint(cluster.server, ['docs', 'tail', 'locked']);
    expect(now).toEqual({ docs: expected['docs'], tail: expected['tail'], locked: expected['locked'] });
    expect(await sql('select count(*)::int as n from doomed')).toEqual([{ n: 1 }]);
    await expectSound();
  });

  it.each(['file_copy', 'wal_log'])('copies a database by %s that nobody has touched', async (strategy) => {
    await sql(`create database copy_of_other template other strategy ${strategy}`);
    const [copied] = await sql(
      'select count(*)::int as n, sum(hashtextextended(notes::text, 0)) as h from notes',
      'copy_of_other',
    );
    const [original] = await sql(
      'select count(*)::int as n, sum(hashtextextended(notes::text, 0)) as h from notes',
      'other',
    );
    expect(copied).toEqual(original);
    await expectSound('copy_of_other');
    await cluster.server.disconnect();
    await sql('drop database copy_of_other; drop database other');
    await sql('create database other');
    expect(await sql(`select count(*)::int as n from pg_class where relname = 'notes'`, 'other')).toEqual([
      { n: 0 },
    ]);
  });

  it('copies out and in, uses temporary and unlogged tables, scans in parallel', async () => {
    await sql(`copy docs to '/dev/null'`);
    await sql(
      'create temp table t as select * from docs; create index on t (k); update t set k = k + 1; analyze t',
    );
    expect(await sql('select count(*)::int as n from t join docs using (id) where t.k = docs.k + 1')).toEqual(
      [{ n: 20000 }],
    );
    await sql('insert into scratch select i, i::text from generate_series(5001, 9000) i');
    expect(await sql('select count(*)::int as n from scratch')).toEqual([{ n: 9000 }]);
    await sql(
      `set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0; set max_parallel_workers_per_gather = 4`,
    );
    const plan = JSON.stringify(await sql('explain select sum(abalance) from pgbench_accounts'));
    expect(plan).toContain('Parallel Seq Scan');
    expect(await sql('select count(*)::int as n from pgbench_accounts')).toEqual([{ n: 300000 }]);
  });

  it('reads multixacts and old transaction states', async () => {
    expect(await sql('select sum(n)::int as n from locked')).toEqual([{ n: 500 }]);
    await sql('vacuum freeze locked; update locked set n = n + 1');
    expect(await sql('select sum(n)::int as n from locked')).toEqual([{ n: 1000 }]);
    await expectSound();
  });

  it('reads a tracked file through SQL functions, too', async () => {
    const [row] = await sql(`select md5(pg_read_binary_file(pg_relation_filepath('tail'))) as md5`);
    const [same] =
      await sql(`select md5(string_agg(pg_read_binary_file(pg_relation_filepath('tail'), b * 8192, 8192), '' order by b)) as md5
      from generate_series(0, pg_relation_size('tail') / 8192 - 1) b`);
    const tail = (await sql(`select pg_relation_filepath('tail') as path`))[0]?.['path'] as string;
    const { createHash } = await import('node:crypto');
    const { readFile } = await import('node:fs/promises');
    const original = createHash('md5')
      .update(await readFile(join(origin.dataDirectory, tail)))
      .digest('hex');
    expect([row?.['md5'], same?.['md5']]).toEqual([original, original]);
  });

  it('makes many relations, and databases, for a bounded number of questions and entries', async () => {
    const [asked, listed] = [{ ...cluster.storage.asked }, cluster.state.files.length];
    const make = (first: number): string =>
      `do $$ begin for i in ${first}..${first + 99} loop execute format('create table r%s (id int primary key, t text)', i); end loop; end $$`;
    for (const first of [0, 100, 200, 300]) await cluster.server.query(make(first));
    for (let round = 0; round < 20; round++) await sql('insert into r7 values (1); truncate r7, r8, r9');
    await sql('create database made; create database copied template other strategy file_copy');
    await cluster.server.query('create table t (id int primary key, t text)', undefined, {
      database: 'made',
    });
    await sql('create table last as select i as id from generate_series(1, 1000) i');
    expect(await sql('select count(*)::int as n, min(id), max(id) from last')).toEqual([
      { n: 1000, min: 1, max: 1000 },
    ]);
    // Most are catalogs that storage has. There are 1,800 new relations here, and 900 in the new databases.
    expect(cluster.storage.asked.relations - asked.relations).toBeLessThan(500);
    expect(cluster.state.files.length - listed).toBeLessThan(1_000);
    expect(await fingerprint(cluster.server)).toEqual(expected);
  });

  it('asks once for all of a database, however often its size is wanted', async () => {
    const size = async (): Promise<unknown> =>
      (await sql('select pg_database_size(current_database())::text as bytes'))[0]?.['bytes'];
    const asked = cluster.storage.asked.databases;
    const first = await size();
    expect(await Promise.all([size(), size()])).toEqual([first, first]);
    expect(cluster.storage.asked.databases - asked).toBe(1);
  });

  it('goes on after a stop and a start', async () => {
    await sql('update docs set k = k + 1 where id <= 5000');
    await cluster.server.stop();
    await cluster.server.start();
    await sql('update docs set k = k - 1 where id <= 5000');
    expect((await fingerprint(cluster.server, ['docs']))['docs']).toBe(expected['docs']);
    await expectSound();
  });

  it('counts the blocks of relations as the file system does', async () => {
    await sql(
      `create table more as select i as id, repeat('z', 300) as t from generate_series(1, 20000) i; create index on more (id)`,
    );
    await sql('delete from tail where id > 2000');
    await sql('vacuum (truncate) tail');
    await sql(
      'drop table doomed; truncate pgbench_accounts; vacuum full docs; create temp table t as select * from docs; drop table t',
    );
    await sql('create database copy_of_other template other strategy file_copy');
    await cluster.server.disconnect();
    await sql('drop database other');
    await sql('checkpoint');
    // Who sums up sizes lists the directories, and so has all files made.
    await sql("select sum(pg_database_size(oid)), pg_tablespace_size('pg_global') from pg_database");
    let blocks = 0;
    const { readdir } = await import('node:fs/promises');
    for (const name of await readdir(cluster.server.dataDirectory, { recursive: true })) {
      if (blockRangeOf(name)?.relation)
        blocks += (await stat(join(cluster.server.dataDirectory, name))).size / 8192;
    }
    expect((await cluster.state.use()).usedBlocks).toBe(blocks);
  });
});
