/** Sessions through the read-only socket of a real compute: nothing that SQL offers makes them write. */
import { join } from 'node:path';
import { Client } from 'pg';
import { READER_ROLE } from '../prepare/settings';
import { SERVER_SETUP } from '../template/template-sql';
import { AgentWorld } from './agent-world.fixture';

jest.setTimeout(120_000);

const READ_ONLY = '25006';
const DENIED = '42501';

/** What the owner of the database leaves lying around. */
const OWNERS_TRAPS = `
  create table t (a int primary key, b text);
  insert into t select g, 'x' from generate_series(1, 1000) g;
  create sequence s;
  create unlogged table u (a int);
  create role app login;
  grant all on all tables in schema public to public;
  grant all on all sequences in schema public to public;
  grant all on schema public to public;
  grant temp, create on database neondb to public;
  create function plain() returns void language plpgsql as 'begin insert into t values (0); end';
  create function definer() returns void language plpgsql security definer as 'begin insert into t values (0); end';
  create function clause() returns void language plpgsql security definer set default_transaction_read_only = off as 'begin insert into t values (0); end';
  create function setting() returns void language plpgsql security definer as $$begin perform set_config('transaction_read_only', 'off', true); insert into t values (0); end$$;
  create function locker() returns void language plpgsql security definer as 'begin lock table t in access exclusive mode; end';
  create function parallel_writer(a int) returns int language plpgsql security definer parallel safe set default_transaction_read_only = off as 'begin insert into t values (0); return a; end';
  create function granter() returns void language plpgsql security definer as 'begin grant pg_write_all_data to coppice_reader; end';
  create procedure committing() language plpgsql as 'begin commit; insert into t values (0); commit; end';
  create procedure chaining() language plpgsql as 'begin commit and chain; insert into t values (0); end';
  create procedure setting_between() language plpgsql as 'begin commit; set transaction read write; insert into t values (0); end';
  create view writing as select t.a, nextval('s') from t;
  create rule turned as on update to u do instead insert into t values (0);
  create index t_brin on t using brin (a);
  create index t_gin on t using gin (string_to_array(b, ','));
  create function summarizing() returns int language sql security definer as $$select brin_summarize_new_values('t_brin')$$;
  create function desummarizing() returns void language sql security definer as $$select brin_desummarize_range('t_brin', 0)$$;
  create function cleaning() returns bigint language sql security definer as $$select gin_clean_pending_list('t_gin')$$;
  select lo_from_bytea(7777, 'x');
  grant all on large object 7777 to public;
`;

/** Each trick in a session of its own: its statements, one by one, and what at least one of them must be refused with. */
const TRICKS: readonly (readonly [name: string, statements: readonly string[], sqlstate: string])[] = [
  ['a plain write', ['insert into t values (0)'], READ_ONLY],
  ['a write in a CTE', ['with x as (insert into t values (0) returning a) select * from x'], READ_ONLY],
  ['truncate', ['truncate t'], READ_ONLY],
  ['row locks', ['select * from t for update'], READ_ONLY],
  ['an unlogged table', ['insert into u values (1)'], READ_ONLY],
  ['a rule', ['update u set a = 1'], READ_ONLY],
  [
    'merge',
    ['merge into t using u on t.a = u.a when not matched then insert values (0)', 'delete from t'],
    READ_ONLY,
  ],
  ['SET transaction_read_only', ['set transaction_read_only = off', 'insert into t values (0)'], READ_ONLY],
  ['SET inside a transaction', ['begin', 'set transaction_read_only = off'], READ_ONLY],
  ['SET LOCAL', ['begin', 'set local transaction_read_only = off'], READ_ONLY],
  ['SET TRANSACTION READ WRITE', ['begin', 'set transaction read write'], READ_ONLY],
  [
    'SET default_transaction_read_only',
    ['set default_transaction_read_only = off', 'insert into t values (0)'],
    READ_ONLY,
  ],
  ['SESSION CHARACTERISTICS', ['set session characteristics as transaction read write'], READ_ONLY],
  ['BEGIN READ WRITE', ['begin read write'], READ_ONLY],
  ['START TRANSACTION READ WRITE', ['start transaction isolation level serializable, read write'], READ_ONLY],
  ['SET TO DEFAULT', ['set default_transaction_read_only to default', 'insert into t values (0)'], READ_ONLY],
  ['RESET', ['reset default_transaction_read_only', 'insert into t values (0)'], READ_ONLY],
  ['RESET ALL', ['reset all', 'insert into t values (0)'], READ_ONLY],
  ['DISCARD ALL', ['discard all', 'insert into t values (0)'], READ_ONLY],
  [
    'on, then rolled back to what was before',
    [
      'begin',
      'savepoint s',
      'set local default_transaction_read_only = on',
      'rollback to s',
      'insert into t values (0)',
    ],
    READ_ONLY,
  ],
  [
    'on, then reset',
    [
      'set default_transaction_read_only = on',
      'reset default_transaction_read_only',
      'insert into t values (0)',
    ],
    READ_ONLY,
  ],
  ['ended and begun anew', ['begin', 'commit and chain', 'insert into t values (0)'], READ_ONLY],
  ['set_config', ["select set_config('transaction_read_only', 'off', false)"], READ_ONLY],
  [
    'set_config of the default',
    ["select set_config('default_transaction_read_only', 'off', false)"],
    READ_ONLY,
  ],
  [
    'an update of pg_settings',
    ["update pg_settings set setting = 'off' where name = 'default_transaction_read_only'"],
    READ_ONLY,
  ],
  ['a function', ['select plain()'], READ_ONLY],
  ['a function of the owner', ['select definer()'], READ_ONLY],
  ['a function with a SET clause', ['select clause()'], READ_ONLY],
  ['a function that sets', ['select setting()'], READ_ONLY],
  ['a function of the owner that grants', ['select granter()'], READ_ONLY],
  ['a view', ['select * from writing'], READ_ONLY],
  ['a DO block', ["do 'begin set transaction_read_only = off; end'"], READ_ONLY],
  ['a DO block that writes', ["do 'begin insert into t values (0); end'"], READ_ONLY],
  ['a procedure that commits', ['call committing()'], READ_ONLY],
  ['a procedure that chains', ['call chaining()'], READ_ONLY],
  ['a procedure that sets between transactions', ['call setting_between()'], READ_ONLY],
  ['a prepared statement', ['prepare p as insert into t values (0)', 'execute p'], READ_ONLY],
  ['EXPLAIN ANALYZE', ['explain analyze insert into t values (0)'], READ_ONLY],
  [
    'a query from a string',
    ["select query_to_xml('insert into t values (0) returning a', true, true, '')"],
    '0A000',
  ],
  ['COPY in', ["copy t from program 'echo 0'"], DENIED],
  ['COPY to a program', ["copy t to program 'cat'"], DENIED],
  ['COPY to a file', ["copy t to '/tmp/x'"], DENIED],
  ['large objects', ['select lo_create(8888)'], READ_ONLY],
  ['writing to a large object', ["select lo_put(7777, 0, 'y')"], READ_ONLY],
  ['unlinking a large object', ['select lo_unlink(7777)'], READ_ONLY],
  ['opening a large object to write', ['select lo_open(7777, 131072)'], READ_ONLY],
  ['a sequence', ["select nextval('s')"], READ_ONLY],
  ['setting a sequence', ["select setval('s', 9)"], READ_ONLY],
  ['a temporary table', ['create temp table pg_class (a int)'], READ_ONLY],
  ['a temporary table from a query', ['select 1 as a into temp hidden'], READ_ONLY],
  ['a temporary view', ['create temp view v as select 1'], READ_ONLY],
  ['a prepared transaction', ['begin', 'select * from t', "prepare transaction 'p'"], READ_ONLY],
  ["finishing somebody's prepared transaction", ["rollback prepared 'owners'"], READ_ONLY],
  ["committing somebody's prepared transaction", ["commit prepared 'owners'"], READ_ONLY],
  ['ALTER ROLE SET', [`alter role ${READER_ROLE} set default_transaction_read_only = off`], READ_ONLY],
  ['ALTER DATABASE SET', ['alter database neondb set default_transaction_read_only = off'], READ_ONLY],
  ['ALTER SYSTEM', ["alter system set default_transaction_read_only = 'off'"], READ_ONLY],
  ['SET ROLE to the owner', ['set role neondb_owner'], DENIED],
  ['SET ROLE to the superuser', ['set role coppice_admin'], DENIED],
  ['SET SESSION AUTHORIZATION', ['set session authorization neondb_owner'], DENIED],
  ['granting itself a role', [`grant neondb_owner to ${READER_ROLE}`], READ_ONLY],
  ['DDL', ['create table n (a int)'], READ_ONLY],
  ['a foreign server', ['create extension postgres_fdw'], READ_ONLY],
  ['a materialized view', ['create materialized view m as select 1'], READ_ONLY],
  ['a strong lock', ['begin', 'lock table t in share mode'], READ_ONLY],
  ['a strong lock by the owner', ['select locker()'], READ_ONLY],
  ['an advisory lock', ['select pg_advisory_lock(1)'], READ_ONLY],
  ['an advisory lock of a transaction', ['select pg_try_advisory_xact_lock_shared(1, 2)'], READ_ONLY],
  ['an advisory lock in FROM', ['select * from pg_advisory_lock(1)'], READ_ONLY],
  ['NOTIFY', ["notify c, 'x'"], READ_ONLY],
  ['pg_notify', ["select pg_notify('c', 'x')"], READ_ONLY],
  ['LISTEN', ['listen c'], READ_ONLY],
  ['VACUUM', ['vacuum t'], READ_ONLY],
  ['ANALYZE', ['analyze t'], READ_ONLY],
  ['REINDEX', ['reindex table t'], READ_ONLY],
  ['CLUSTER', ['cluster t using t_pkey'], READ_ONLY],
  ['CHECKPOINT', ['checkpoint'], READ_ONLY],
  ['LOAD', ["load 'plpgsql'"], READ_ONLY],
  ['a transaction id', ['select txid_current()'], READ_ONLY],
  ['a message in the WAL', ["select pg_logical_emit_message(false, 'coppice:', 'x')"], READ_ONLY],
  ['a replication slot', ["select pg_create_physical_replication_slot('x')"], DENIED],
  ['upkeep of a BRIN index by the owner', ['select summarizing()'], READ_ONLY],
  ['undoing what a BRIN index knows, by the owner', ['select desummarizing()'], READ_ONLY],
  ['upkeep of a GIN index by the owner', ['select cleaning()'], READ_ONLY],
  ["ending others' sessions", ['select pg_terminate_backend(pid) from pg_stat_activity'], READ_ONLY],
  [
    'a subscription',
    ["create subscription x connection 'host=x' publication y with (connect = false)"],
    READ_ONLY,
  ],
];

describe('a session through the read-only socket', () => {
  let world: AgentWorld;
  let owner: Client;
  let sockets: string;
  let before: unknown;

  beforeAll(async () => {
    world = await AgentWorld.start();
    const status = await world.computes.start(world.request({ setupSql: SERVER_SETUP, computeUnits: 1 }));
    sockets = status.socketDirectory;
    owner = await connect({ host: sockets, user: 'neondb_owner' });
    await owner.query(OWNERS_TRAPS);
    await owner.query("begin; insert into u values (1); prepare transaction 'owners'");
    before = await content();
  });
  afterAll(async () => {
    await owner?.end();
    await world?.dispose();
  });

  async function connect(over: object = {}): Promise<Client> {
    const client = new Client({
      host: join(sockets, 'read-only'),
      port: 5432,
      user: READER_ROLE,
      database: 'neondb',
      ...over,
    });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }
  async function withReader<T>(act: (reader: Client) => Promise<T>, over: object = {}): Promise<T> {
    const reader = await connect(over);
    try {
      return await act(reader);
    } finally {
      await reader.end();
    }
  }
  async function content(): Promise<unknown> {
    const { rows } = await owner.query(`
      select (select md5(string_agg(t::text, ',' order by a)) from t) as t, (select count(*) from u) as u,
             (select last_value || ' ' || is_called from s) as s, (select jsonb_agg(x) from pg_db_role_setting x) as settings,
             (select count(*) from pg_class) as relations, (select jsonb_agg(oid) from pg_largeobject_metadata) as objects,
             (select jsonb_agg(x order by roleid, member) from pg_auth_members x) as members, (select jsonb_agg(gid) from pg_prepared_xacts) as prepared,
             (select count(*) from pg_replication_slots) as slots, (select jsonb_agg(rolname order by 1) from pg_authid) as roles,
             (select count(*) from pg_locks where locktype = 'advisory') as advisory, convert_from(lo_get(7777), 'UTF8') as object`);
    return rows[0];
  }
  const sqlstate = (error: unknown): string => (error as { code?: string }).code ?? `${error}`;
  const tryAll = async (
    reader: Client,
    run: (text: string) => Promise<unknown>,
    statements: readonly string[],
  ): Promise<string> => {
    for (const text of statements) {
      try {
        await run(text);
      } catch (error) {
        // Nothing that follows may write either.
        await reader.query('rollback');
        await reader
          .query('insert into t values (-1)')
          .catch((second: unknown) => expect(sqlstate(second)).toBe(READ_ONLY));
        return sqlstate(error);
      }
    }
    return 'nothing was refused';
  };

  it.each(TRICKS)('refuses %s', async (_, statements, wanted) => {
    expect(await withReader((reader) => tryAll(reader, (text) => reader.query(text), statements))).toBe(
      wanted,
    );
  });
  it.each(TRICKS)('refuses %s in the extended protocol', async (_, statements, wanted) => {
    // A name makes the driver prepare the statement.
    expect(
      await withReader((reader) =>
        tryAll(reader, (text) => reader.query({ text, name: text.slice(0, 60) }), statements),
      ),
    ).toBe(wanted);
  });
  it('refuses several statements in one message', async () => {
    await withReader(async (reader) => {
      await expect(
        reader.query('commit; begin read write; insert into t values (0); commit'),
      ).rejects.toMatchObject({ code: READ_ONLY });
    });
  });
  it('refuses start-up options that would turn it off', async () => {
    for (const options of [
      '-c default_transaction_read_only=off',
      '-c transaction_read_only=off',
      '-c role=neondb_owner',
    ])
      await expect(
        withReader((reader) => reader.query('insert into t values (0)'), { options }),
      ).rejects.toMatchObject({ code: expect.stringMatching(/^(25006|42501|22023)$/) });
  });
  it('is not undone by settings of its role, its database or both', async () => {
    const admin = await world.connect(sockets);
    const targets = [`role ${READER_ROLE}`, 'database neondb', `role ${READER_ROLE} in database neondb`];
    for (const target of targets)
      await admin.query(`alter ${target} set default_transaction_read_only = off`);
    try {
      await withReader(async (reader) => {
        expect((await reader.query('show default_transaction_read_only')).rows).toEqual([
          { default_transaction_read_only: 'on' },
        ]);
        await expect(reader.query('insert into t values (0)')).rejects.toMatchObject({ code: READ_ONLY });
        await reader.query('discard all');
        await expect(reader.query('insert into t values (0)')).rejects.toMatchObject({ code: READ_ONLY });
      });
    } finally {
      for (const target of targets) await admin.query(`alter ${target} reset default_transaction_read_only`);
      await admin.end();
    }
  });
  it('holds in parallel workers, also for functions that say they are safe there', async () => {
    await withReader(async (reader) => {
      await reader.query('set debug_parallel_query = on');
      const { rows } = await reader.query(
        "select distinct current_setting('transaction_read_only') as it from t",
      );
      expect(rows).toEqual([{ it: 'on' }]);
      await expect(reader.query('select parallel_writer(a) from t')).rejects.toThrow(/read-only|parallel/);
    });
  });
  it('holds for a superuser as well', async () => {
    await withReader(
      async (reader) => {
        for (const text of ['insert into t values (0)', 'begin read write', 'checkpoint', 'create role x'])
          await expect(reader.query(text)).rejects.toMatchObject({ code: READ_ONLY });
      },
      { user: 'coppice_admin' },
    );
  });
  it('has no replication', async () => {
    await expect(connect({ replication: 'database' })).rejects.toMatchObject({ code: DENIED });
  });
  it('reads what readers need: snapshots, cursors, weak locks, read-only transactions, large objects', async () => {
    await withReader(async (reader) => {
      for (const text of [
        'begin isolation level repeatable read read only',
        'lock table t in access share mode',
        'select pg_export_snapshot()',
        'declare c cursor for select * from t',
        'fetch 10 from c',
        'commit',
        'set transaction_read_only = on',
        'set default_transaction_read_only = on',
        "set work_mem = '8MB'",
        'explain analyze select * from t',
        'begin',
        'select lo_open(7777, 262144)',
        'commit',
      ])
        await reader.query(text);
      expect((await reader.query('select count(*)::int as n from t')).rows).toEqual([{ n: 1000 }]);
      expect(
        (
          await reader.query(
            `select rolname from pg_roles r where pg_has_role(current_user, r.oid, 'member') and rolname <> current_user`,
          )
        ).rows,
      ).toEqual([{ rolname: 'pg_read_all_data' }]);
    });
  });
  it('leaves everything as it was, and sessions through the other socket write', async () => {
    expect(await content()).toEqual(before);
    await owner.query('begin; insert into t values (0); rollback');
  });
});
