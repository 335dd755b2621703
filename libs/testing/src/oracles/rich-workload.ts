import { FULL } from '../full';
import type { TestPostgres } from '../servers/postgres';

const INDEXED_ROWS = FULL ? 20_000 : 3_000;

/** What a workload needs of a server. */
export type WorkloadServer = Pick<TestPostgres, 'query' | 'connect' | 'disconnect'>;

/**
 * Everything that changes files without a block reference, and what lies around it: truncation with maps, dropped and
 * rewritten relations, databases made both ways and dropped, prepared transactions, multixacts, subtransactions over more
 * than a page of pg_xact, unlogged relations, moved catalogs, sequences, every kind of index (of which each row costs many
 * full pages of WAL).
 */
export async function richWorkload(server: WorkloadServer): Promise<void> {
  await relationsAndMaps(server);
  await indexes(server);
  await transactions(server);
  await multixacts(server);
  await databases(server);
  await catalogs(server);
}

/** What a server does that recovered from its own files. Ends with an open prepared transaction. */
export async function afterTheCrash(server: WorkloadServer): Promise<void> {
  await each(
    server,
    `checkpoint; create table after_the_crash as select i, i % 10 as digit from generate_series(1, 10000) i`,
  );
  await each(server, `vacuum after_the_crash; update after_the_crash set digit = 0 where i % 100 = 0`);
  await each(
    server,
    `begin; insert into marks values (-1); savepoint s; insert into marks values (-2); prepare transaction 'kept'`,
  );
}

/** One statement at a time: `vacuum` and `create database` do not run in company. */
async function each(server: WorkloadServer, statements: string, database = 'postgres'): Promise<void> {
  for (const statement of statements.split(';')) await server.query(statement, undefined, { database });
}

async function relationsAndMaps(server: WorkloadServer): Promise<void> {
  await each(server, `create table grown (id int primary key, filler text)`);
  await each(server, `insert into grown select i, repeat('x', 400) from generate_series(1, 40000) i`);
  await each(server, `vacuum (freeze, analyze) grown`);
  await each(server, `delete from grown where id > 3000`);
  await each(server, `vacuum grown`);
  await each(server, `insert into grown select i, repeat('y', 300) from generate_series(50001, 52000) i`);
  await each(server, `vacuum (freeze) grown`);
  await each(server, `update grown set filler = filler || 'z' where id % 7 = 0`);
  await each(server, `delete from grown where id % 11 = 0`);
  await each(server, `select count(*) from (select * from grown where id % 13 = 0 for update) locked`);
  await each(
    server,
    `create table dropped as select i from generate_series(1, 5000) i; vacuum dropped; drop table dropped`,
  );
  await each(server, `create table emptied as select i, repeat('q', 100) from generate_series(1, 5000) i`);
  await each(server, `vacuum emptied; truncate emptied; insert into emptied values (1, 'a')`);
  await each(
    server,
    `begin; create table aborted as select generate_series(1, 3000) i; truncate grown; rollback`,
  );
  await each(server, `create unlogged table unlogged (id serial primary key, doc jsonb)`);
  await each(
    server,
    `create index on unlogged using gin (doc); insert into unlogged (doc) values ('{"a": 1}')`,
  );
  await each(
    server,
    `create unlogged table logged_later as select generate_series(1, 3000) i; alter table logged_later set logged`,
  );
  await each(
    server,
    `create sequence counter; select count(nextval('counter')) from generate_series(1, 500)`,
  );
  await each(server, `create temp table temporary as select generate_series(1, 1000) i`);
  await each(server, `create table wide (id int, doc text); alter table wide alter doc set storage external`);
  await each(server, `insert into wide select i, repeat(md5(i::text), 400) from generate_series(1, 200) i`);
  await each(
    server,
    `delete from wide where id > 50; vacuum wide; vacuum full wide; cluster grown using grown_pkey`,
  );
}

async function indexes(server: WorkloadServer): Promise<void> {
  await each(server, `create table indexed (id int, words int[], place point, tag text)`);
  for (const index of ['gin (words)', 'gist (place)', 'spgist (place)', 'hash (tag)', 'brin (id)']) {
    await each(server, `create index on indexed using ${index}`);
  }
  await each(
    server,
    `insert into indexed select i, array[i, i % 10, i % 100], point(i, i % 50), 't' || i from generate_series(1, ${INDEXED_ROWS}) i`,
  );
  await each(server, `delete from indexed where id % 3 = 0; vacuum indexed; reindex table indexed`);
  await each(
    server,
    `insert into indexed select i, array[i], point(i, 1), 'u' || i from generate_series(1, ${INDEXED_ROWS / 5}) i; vacuum indexed`,
  );
}

async function transactions(server: WorkloadServer): Promise<void> {
  await each(server, `create table marks (id int)`);
  await server.query(`
    do $$ begin
      for i in 1..3000 loop
        begin
          insert into marks values (i);
          if i % 3 = 0 then raise exception 'no'; end if;
        exception when raise_exception then null;
        end;
      end loop;
    end $$`);
  await each(server, `begin; create table prepared_drop (i int); prepare transaction 'committed'`);
  await each(server, `commit prepared 'committed'`);
  await each(
    server,
    `begin; drop table prepared_drop; insert into marks values (-3); prepare transaction 'dropping'`,
  );
  await each(server, `commit prepared 'dropping'`);
  await each(
    server,
    `begin; create table never (i int); insert into never values (1); prepare transaction 'rolled back'`,
  );
  await each(server, `rollback prepared 'rolled back'`);
  await each(server, `select pg_replication_origin_create('upstream'), pg_replication_origin_create('gone')`);
  await each(
    server,
    `select pg_replication_origin_advance('upstream', '0/12345'), pg_replication_origin_advance('gone', '0/1')`,
  );
  await each(server, `select pg_replication_origin_drop('gone')`);
  await each(server, `select pg_replication_origin_session_setup('upstream')`);
  await each(
    server,
    `begin; select pg_replication_origin_xact_setup('0/23456', now()); insert into marks values (-4); commit`,
  );
  await each(server, `select pg_replication_origin_session_reset()`);
  await each(
    server,
    `select pg_logical_emit_message(true, 'coppice:file:pg_replslot/kept/state', 'slot state')`,
  );
  await each(
    server,
    `select pg_logical_emit_message(false, 'coppice:file:postgresql.auto.conf', 'allow_system_table_mods = on')`,
  );
}

async function multixacts(server: WorkloadServer): Promise<void> {
  await each(
    server,
    `create table shared as select generate_series(1, 900) id; alter table shared add primary key (id)`,
  );
  const clients = await Promise.all([1, 2, 3].map(() => server.connect()));
  try {
    for (let round = 0; round < 4; round++) {
      for (const client of clients) await client.query('begin');
      for (const client of clients)
        await client.query(`select count(*) from (select * from shared for share) locked`);
      for (const client of clients) await client.query(round % 2 ? 'commit' : 'rollback');
      await each(server, `update shared set id = id where id % 5 = ${round}`);
    }
  } finally {
    for (const client of clients) await client.end();
  }
}

async function databases(server: WorkloadServer): Promise<void> {
  await server.disconnect();
  await each(server, `create database copied strategy file_copy`);
  await each(server, `create database logged strategy wal_log`);
  await each(server, `create table here as select generate_series(1, 2000) i`, 'copied');
  await each(
    server,
    `create table there (i int primary key); insert into there select generate_series(1, 2000)`,
    'logged',
  );
  await server.disconnect();
  await each(server, `create database second_copy template copied strategy file_copy oid 90000`);
  await each(server, `drop database second_copy`);
  await each(server, `create database third_copy template logged strategy file_copy oid 90000`);
  await each(server, `drop database copied`);
}

async function catalogs(server: WorkloadServer): Promise<void> {
  await each(
    server,
    `vacuum full pg_class; vacuum full pg_database; reindex system postgres; vacuum full pg_attribute`,
  );
  await each(server, `create table after_the_move as select generate_series(1, 100) i`);
}
