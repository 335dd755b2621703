/** For tests: a cluster with something of everything, and the questions that tell whether it is still all there. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { startPostgres, type TestPostgres } from '@coppice/testing';

const run = promisify(execFile);
const PGBENCH = '/usr/lib/postgresql/15/bin/pgbench';

export function pgbench(
  server: TestPostgres,
  args: readonly string[],
  database = 'postgres',
): Promise<{ stdout: string }> {
  const where = ['-h', server.socketDirectory, '-p', String(server.port), '-U', 'postgres'];
  return run(PGBENCH, [...where, ...args, database], { cwd: '/', env: { PATH: '/usr/bin:/bin' } });
}

const SCHEMA = `
create extension amcheck;
create extension btree_gist;
create table docs (
  id int primary key, k int, body text, tags int[], area box, span int4range, words tsvector, big text
);
alter table docs alter big set storage external;
insert into docs select i, i * 7919 % 20011, 'document ' || i || repeat(' filler', i % 20), array[i % 10, i % 77, i % 501],
  box(point(i % 100, i % 97), point(i % 100 + 2, i % 97 + 2)), int4range(i, i + i % 50 + 1),
  to_tsvector('simple', 'word' || i % 300 || ' term' || i % 41),
  case when i % 40 = 0 then (select string_agg(md5(i::text || j), '') from generate_series(1, 400) j) end
  from generate_series(1, 20000) i;
create index docs_k on docs (k);
create index docs_hash on docs using hash (k);
create index docs_tags on docs using gin (tags);
create index docs_words on docs using gin (words);
create index docs_area on docs using gist (area);
create index docs_span on docs using spgist (span);
create index docs_brin on docs using brin (id);
create unlogged table scratch as select i as id, md5(i::text) as text from generate_series(1, 5000) i;
create materialized view per_tag as select tags[1] as tag, count(*) from docs group by 1;
create table tail as select i as id, repeat('x', 500) as text from generate_series(1, 20000) i;
create table doomed as select i as id, repeat('y', 500) as text from generate_series(1, 5000) i;
create table locked (id int primary key, n int);
insert into locked select i, 0 from generate_series(1, 500) i;
`;

/** Starts a server, fills it, stops it cleanly. */
export async function mixedOrigin(): Promise<TestPostgres> {
  const server = await startPostgres({ settings: { autovacuum: false, wal_level: 'replica' } });
  try {
    await server.query(SCHEMA);
    await pgbench(server, ['-i', '-s', '3', '-q']);
    await shareLocks(server);
    await server.query('create database other');
    await server.query(
      `create extension amcheck; create table notes as select i as id, md5(i::text) as text from generate_series(1, 30000) i;
      create index on notes (text)`,
      undefined,
      { database: 'other' },
    );
    await server.query('vacuum analyze');
    await server.stop();
  } catch (error) {
    await server.dispose();
    throw error;
  }
  return server;
}

/** Rows locked by two transactions have multixacts, some of which survive with an updater in them. */
async function shareLocks(server: TestPostgres): Promise<void> {
  const [one, two] = await Promise.all([server.connect(), server.connect()]);
  for (let round = 0; round < 40; round++) {
    await one.query('begin; select * from locked for key share');
    await two.query(`begin; update locked set n = n + 1 where id % 40 = ${round}`);
    await two.query('commit');
    await one.query('commit');
  }
  await Promise.all([one.end(), two.end()]);
}

const TABLES = [
  'docs',
  'scratch',
  'per_tag',
  'tail',
  'doomed',
  'locked',
  'pgbench_accounts',
  'pgbench_branches',
  'pgbench_tellers',
];

/** Count and content hash of every table. */
export async function fingerprint(
  server: TestPostgres,
  tables: readonly string[] = TABLES,
): Promise<Record<string, string>> {
  const result: Record<string, string> = {};
  for (const table of tables) {
    const [row] = await server.query<{ f: string }>(
      `select count(*) || ' rows ' || coalesce(sum(hashtextextended(t::text, 0)), 0) as f from ${table} t`,
    );
    result[table] = row?.f ?? '';
  }
  return result;
}

/** Every btree and heap of a database by amcheck; lists complaints. */
export async function soundness(server: TestPostgres, database = 'postgres'): Promise<string[]> {
  const heaps = await server.query<{ name: string; msg: string }>(
    `select c.oid::regclass::text as name, v.msg from pg_class c, lateral verify_heapam(c.oid) v
      where c.relkind in ('r', 't', 'm') and c.relpersistence <> 't'`,
    undefined,
    { database },
  );
  await server.query(
    `select bt_index_check(i.indexrelid, true) from pg_index i
      join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
      where a.amname = 'btree' and i.indisvalid and c.relpersistence <> 't'`,
    undefined,
    { database },
  );
  return heaps.map((h) => `${h.name}: ${h.msg}`);
}
