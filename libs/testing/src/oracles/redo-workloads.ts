/**
 * Workloads that between them make a server write every kind of record that changes a page, and reach the corners of
 * those: each is a function of a fresh server and can be run alone.
 */
import type { Client } from 'pg';
import type { TestPostgres } from '../servers/postgres';

export type Workload = (server: TestPostgres) => Promise<void>;

/** Runs statements one by one on one connection; none of them may hold a semicolon of its own. */
async function script(server: TestPostgres, sql: string, database = 'postgres'): Promise<void> {
  for (const statement of sql.split(';'))
    if (statement.trim() !== '') await server.query(statement, undefined, { database });
}

/** Deduplication, posting splits, splits on every level, deletion down to one page, growth from there. */
const btree: Workload = async (server) => {
  await script(
    server,
    `
    create table b (id int, k int, t text) with (autovacuum_enabled = false);
    create index b_id on b (id); create index b_k on b (k); create index b_t on b (t, k);
    create index b_nodedup on b (k) with (deduplicate_items = off, fillfactor = 50);
    insert into b select i, i % 37, repeat(chr(97 + i % 26), i % 300) from generate_series(1, 6000) i;
    insert into b select (random() * 100000)::int, (random() * 40)::int, md5(random()::text) from generate_series(1, 6000);
    delete from b where k % 2 = 0 and id % 3 = 0`,
  );
  await script(server, 'vacuum b');
  await script(server, 'delete from b where id between 500 and 5500');
  await script(server, 'vacuum b');
  await script(server, 'insert into b select i, i % 11, null from generate_series(1, 3000) i');
  await script(server, 'delete from b where id < 5990');
  await script(server, 'vacuum b');
  await script(server, 'insert into b select 20000 + i, i, md5(i::text) from generate_series(1, 4000) i');
  await script(server, 'vacuum b');
  await fastRoot(server);
  await killedItems(server);
};

/** A tree that is deleted down to its rightmost leaf and then grows again changes its fast root both ways. */
async function fastRoot(server: TestPostgres): Promise<void> {
  await script(server, 'create table r (id int) with (autovacuum_enabled = false)');
  await script(server, 'create index r_id on r (id)');
  for (let round = 0; round < 2; round++) {
    await script(
      server,
      `insert into r select i from generate_series(${round * 20000}, ${round * 20000 + 4999}) i`,
    );
    await script(server, `delete from r where id < ${round * 20000 + 4990}`);
    for (let i = 0; i < 3; i++) await script(server, 'vacuum r');
  }
}

/** Index scans that find dead rows mark their items; later inserts remove those. */
async function killedItems(server: TestPostgres): Promise<void> {
  await script(
    server,
    `create table kill (id int, v int) with (autovacuum_enabled = false); create index kill_id on kill (id)`,
  );
  for (let round = 0; round < 6; round++) {
    await script(server, 'insert into kill select i % 500, i from generate_series(1, 1500) i');
    await script(server, 'delete from kill');
    await script(
      server,
      'set enable_seqscan = off; set enable_bitmapscan = off; select count(v) from kill where id >= 0; reset all',
    );
  }
}

/** Update chains inside and across pages, prune, freeze, visibility, TOAST, truncation, rows of every shape. */
const heap: Workload = async (server) => {
  await script(
    server,
    `
    create table h (id int primary key, a text, b text, n int) with (fillfactor = 60, autovacuum_enabled = false);
    insert into h select i, repeat('a', i % 200), null, i from generate_series(1, 4000) i`,
  );
  await script(server, 'vacuum freeze h');
  for (let round = 0; round < 4; round++) {
    await script(server, `update h set n = n + 1 where id % 4 = ${round}`);
    await script(server, `update h set b = repeat('b', ${round} + id % 700) where id % 5 = ${round}`);
    await script(server, `select count(*) from h where id % 2 = 0`);
  }
  await script(server, 'vacuum h');
  await script(
    server,
    `begin; delete from h where id % 9 = 0; update h set a = upper(a) where id % 10 = 1; rollback`,
  );
  await script(
    server,
    `begin; savepoint s; update h set n = -n where id < 300; rollback to s; update h set n = 0 where id < 100; commit`,
  );
  await script(server, 'alter table h alter column b set storage external');
  await script(server, `update h set b = repeat(md5(id::text), 400) where id % 100 = 0`);
  await script(server, `update h set b = 'short' where id % 200 = 0`);
  await script(server, 'delete from h where id > 1500');
  await script(server, 'vacuum (freeze, analyze) h');
  await script(
    server,
    'select count(*) from h; update h set n = 5 where id % 50 = 0; vacuum h; vacuum freeze h',
  );
  await script(server, 'cluster h using h_pkey; truncate h; insert into h values (1)');
};

const many: Workload = async (server) => {
  await script(
    server,
    `
    create table c (id int, t text default 'x') with (autovacuum_enabled = false);
    copy c (id) from program 'seq 1 6000'`,
  );
  await script(
    server,
    `begin; create table f (id int); copy f from program 'seq 1 3000' with (freeze); commit`,
  );
  await script(
    server,
    `vacuum c; delete from c where id % 20 < 10; vacuum c; copy c (id) from program 'seq 1 4000'`,
  );
  await script(server, `vacuum f; delete from f where id % 3 = 0; vacuum f; copy f from program 'seq 1 500'`);
  await script(
    server,
    'create unlogged table u (id serial primary key, v int); insert into u (v) select 1 from generate_series(1, 100)',
  );
  await script(
    server,
    'alter table u set logged; alter table u set unlogged; alter table u set logged; update u set v = 2',
  );
};

/** Rows inserted speculatively, confirmed, and moved between partitions. */
const upserts: Workload = async (server) => {
  await script(server, `create table s (id int primary key, n int default 0)`);
  const sessions = await Promise.all(Array.from({ length: 4 }, () => server.connect()));
  for (let round = 0; round < 5; round++) {
    const statement = `insert into s select i from generate_series(${round * 200}, ${round * 200 + 299}) i on conflict (id) do nothing`;
    await Promise.all(sessions.map((session) => session.query(statement)));
  }
  await Promise.all(sessions.map((session) => session.end()));
  await script(
    server,
    `insert into s select i from generate_series(1, 1200) i on conflict (id) do update set n = s.n + 1`,
  );
  await script(
    server,
    `
    create table p (k int, v text) partition by list (k);
    create table p1 partition of p for values in (1); create table p2 partition of p for values in (2);
    insert into p select 1, 'v' || i from generate_series(1, 200) i; update p set k = 2 where v like '%7'`,
  );
};

/** Row locks of every strength, shared ones as multixacts, on updated rows and on frozen pages. */
const locks: Workload = async (server) => {
  await script(
    server,
    `
    create table l (id int primary key, v int); insert into l select i, 0 from generate_series(1, 300) i;
    create table child (id int references l); insert into child select i from generate_series(1, 300) i`,
  );
  await script(server, 'vacuum freeze l');
  const [one, two, three] = (await Promise.all([server.connect(), server.connect(), server.connect()])) as [
    Client,
    Client,
    Client,
  ];
  await one.query('begin; select * from l where id <= 100 for share');
  await two.query('begin; select * from l where id between 50 and 150 for share');
  await three.query('begin; select * from l where id between 90 and 120 for key share');
  await Promise.all([one, two, three].map((session) => session.query('commit')));
  await one.query('begin; update l set v = v + 1 where id <= 60');
  await two.query('begin isolation level repeatable read; select * from l where id <= 60 for key share');
  await one.query('update l set v = v + 1 where id <= 30');
  await two.query('select * from l where id <= 60 for key share');
  await one.query('commit');
  await two.query('commit');
  await one.query(
    'begin; select * from l where id = 5 for no key update; savepoint a; update l set v = 9 where id = 5; rollback to a; delete from child where id = 299; delete from l where id = 299; rollback',
  );
  await two.query('begin; select * from l where id > 200 for update');
  await two.query(`prepare transaction 'locks'`);
  await script(server, 'vacuum freeze l');
  await script(server, `commit prepared 'locks'`);
  await script(server, 'vacuum freeze l');
  await lockUpdatedChains(server, one, two);
  await Promise.all([one, two, three].map((session) => session.end()));
};

/** A key-share lock taken through an old snapshot follows the row to its newer versions. */
async function lockUpdatedChains(server: TestPostgres, one: Client, two: Client): Promise<void> {
  await two.query('begin isolation level repeatable read; select count(*) from l');
  await script(server, 'update l set v = v + 1 where id between 100 and 200');
  await one.query('begin; update l set v = v + 1 where id between 100 and 150');
  await two.query('select * from l where id between 100 and 200 for key share');
  await one.query('commit');
  await two.query('commit');
}

const transactions: Workload = async (server) => {
  await script(server, 'create table x (id int primary key, v text)');
  for (let i = 0; i < 6; i++) {
    await script(
      server,
      `begin; insert into x select ${i * 100} + i, 'p' from generate_series(1, 90) i; create table x${i} (a int primary key); prepare transaction 'x${i}'`,
    );
    await script(server, `${i % 2 ? 'commit' : 'rollback'} prepared 'x${i}'`);
  }
  await script(
    server,
    'create sequence q cache 5; select nextval($$q$$) from generate_series(1, 500); select setval($$q$$, 7); alter sequence q restart 100 increment 3; select nextval($$q$$)',
  );
  await script(server, 'create database copied strategy = file_copy');
  await script(
    server,
    'create table y (a int); insert into y select generate_series(1, 1000); vacuum y; delete from y where a < 500; vacuum y',
    'copied',
  );
  await server.disconnect();
  await script(server, 'drop database copied');
};

const otherIndexes: Workload = async (server) => {
  await script(
    server,
    `
    create extension bloom; create extension pg_trgm;
    create table o (id int, words text, p point, r int4range, arr int[]) with (autovacuum_enabled = false);
    create index o_bloom on o using bloom (id, words); create index o_gin on o using gin (words gin_trgm_ops);
    create index o_gin2 on o using gin (arr) with (fastupdate = off);
    create index o_gist on o using gist (p); create index o_range on o using gist (r); create index o_sp on o using spgist (p);
    create index o_spt on o using spgist (words); create index o_hash on o using hash (id); create index o_brin on o using brin (id) with (pages_per_range = 2)`,
  );
  for (let round = 0; round < 3; round++) {
    await script(
      server,
      `
      insert into o select i, md5((i % 200)::text) || i, point(random() * 1000, random() * 1000), int4range(i, i + i % 50), array[i % 20, i % 300, i]
      from generate_series(1, 1500) i`,
    );
    await script(server, `delete from o where id % 5 = ${round} or id < 300 * ${round}`);
    await script(server, 'vacuum o');
    await script(server, `update o set p = point(id, id), id = id + 1 where id % 7 = ${round}`);
  }
  await script(server, 'delete from o where id % 4 < 3');
  await script(
    server,
    'vacuum o; vacuum o; select brin_summarize_new_values($$o_brin$$); select brin_desummarize_range($$o_brin$$, 0)',
  );
};

export const REDO_WORKLOADS: Readonly<Record<string, Workload>> = {
  btree,
  heap,
  many,
  upserts,
  locks,
  transactions,
  otherIndexes,
};

/** All of them, one after another. */
export const allRedoWorkloads: Workload = async (server) => {
  for (const workload of Object.values(REDO_WORKLOADS)) await workload(server);
};
