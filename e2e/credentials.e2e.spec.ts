/** Credentials that open one branch for a while, and API keys that open a part of a fleet, on a real stack. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type BranchHandle,
  eventually,
  fingerprint,
  fork,
  type Json,
  leave,
  sequenceFaults,
  sharedStack,
  sql,
  type Stack,
  withClient,
} from '@coppice/testing';
import { Client } from 'pg';

jest.setTimeout(240_000);

const READ_ONLY = '25006';
const DENIED = '42501';
const WRONG_PASSWORD = '28P01';
/** What is promised of a credential that is over. */
const SESSIONS_END_WITHIN_MS = 5_000;

/** What an owner may leave lying around for whoever can only read. */
const TRAPS = [
  'create table t (a int primary key, b text)',
  "insert into t select g, 'x' from generate_series(1, 500) g",
  'create sequence s',
  'grant all on all tables in schema public to public',
  'grant all on all sequences in schema public to public',
  'grant all on schema public to public',
  'grant temp, create on database neondb to public',
  "create function definer() returns void language plpgsql security definer as 'begin insert into t values (0); end'",
  "create function clause() returns void language plpgsql security definer set default_transaction_read_only = off as 'begin insert into t values (0); end'",
  "create function setting() returns void language plpgsql security definer as $$begin perform set_config('transaction_read_only', 'off', true); insert into t values (0); end$$",
  "create procedure setting_between() language plpgsql as 'begin commit; set transaction read write; insert into t values (0); end'",
  "create view counting as select a, nextval('s') from t",
  "select lo_from_bytea(7777, 'x')",
  'grant all on large object 7777 to public',
  'create database second',
];

/** Statements of one session each, and what one of them is refused with. */
const TRICKS: readonly (readonly [name: string, statements: readonly string[], sqlstate: string])[] = [
  ['a write', ['insert into t values (0)'], READ_ONLY],
  ['a write in a CTE', ['with x as (delete from t returning a) select * from x'], READ_ONLY],
  ['a row lock', ['select * from t for update'], READ_ONLY],
  ['SET ROLE', ['set role neondb_owner'], DENIED],
  ['SET SESSION AUTHORIZATION', ['set session authorization coppice_admin'], DENIED],
  ['SET transaction_read_only', ['set transaction_read_only = off', 'insert into t values (0)'], READ_ONLY],
  ['SET of the default', ['set default_transaction_read_only = off'], READ_ONLY],
  ['BEGIN READ WRITE', ['begin read write'], READ_ONLY],
  ['SESSION CHARACTERISTICS', ['set session characteristics as transaction read write'], READ_ONLY],
  ['RESET ALL', ['reset all', 'insert into t values (0)'], READ_ONLY],
  ['DISCARD ALL', ['discard all', 'insert into t values (0)'], READ_ONLY],
  ['set_config', ["select set_config('transaction_read_only', 'off', false)"], READ_ONLY],
  ['several statements at once', ['commit; begin read write; insert into t values (0); commit'], READ_ONLY],
  ['a function of the owner', ['select definer()'], READ_ONLY],
  ['a function with a SET clause', ['select clause()'], READ_ONLY],
  ['a function that sets', ['select setting()'], READ_ONLY],
  ['a procedure that sets between transactions', ['call setting_between()'], READ_ONLY],
  ['a view that counts', ['select * from counting'], READ_ONLY],
  ['DO', ["do 'begin set transaction_read_only = off; insert into t values (0); end'"], READ_ONLY],
  ['COPY in from a program', ["copy t from program 'echo 0'"], DENIED],
  ['COPY to a program', ["copy t to program 'cat'"], DENIED],
  ['COPY to a file', ["copy t to '/tmp/x'"], DENIED],
  ['lo_create', ['select lo_create(8888)'], READ_ONLY],
  ['lo_put', ["select lo_put(7777, 0, 'y')"], READ_ONLY],
  ['lo_unlink', ['select lo_unlink(7777)'], READ_ONLY],
  ['PREPARE TRANSACTION', ['begin', "prepare transaction 'p'"], READ_ONLY],
  ['ALTER ROLE', ['alter role coppice_reader set default_transaction_read_only = off'], READ_ONLY],
  ['ALTER DATABASE', ['alter database neondb set default_transaction_read_only = off'], READ_ONLY],
  ['GRANT', ['grant neondb_owner to coppice_reader'], READ_ONLY],
  ['a temporary table', ['create temp table pg_class (a int)'], READ_ONLY],
  ['NOTIFY', ["notify c, 'x'"], READ_ONLY],
  ['an advisory lock', ['select pg_advisory_lock(1)'], READ_ONLY],
  ['VACUUM', ['vacuum t'], READ_ONLY],
  ['a transaction id', ['select pg_current_xact_id()'], READ_ONLY],
];

/** What a fingerprint leaves out. */
const BESIDES = `select (select jsonb_agg(x) from pg_db_role_setting x) as settings, (select jsonb_agg(oid) from pg_largeobject_metadata) as objects,
  convert_from(lo_get(7777), 'UTF8') as object, (select jsonb_agg(x order by roleid, member) from pg_auth_members x) as members,
  (select count(*) from pg_prepared_xacts) as prepared, (select count(*) from pg_locks where locktype = 'advisory') as advisory`;

const sqlstate = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: { code?: string }) => error.code ?? `${error}`,
  );

/** The same connection string with another part in it. */
function changed(uri: string, over: { password?: string; endpoint?: string; database?: string }): string {
  const url = new URL(uri);
  if (over.password !== undefined) url.password = over.password;
  if (over.endpoint !== undefined) url.searchParams.set('options', `endpoint=${over.endpoint}`);
  if (over.database !== undefined) url.pathname = `/${over.database}`;
  return url.href;
}

/** A connection that remembers when it ended; `busy` is what it does meanwhile. */
class LiveSession {
  readonly client: Client;
  endedAt: number | undefined;

  constructor(uri: string) {
    this.client = new Client({ connectionString: uri });
    this.client.on('error', () => undefined);
    this.client.once('end', () => (this.endedAt = Date.now()));
  }

  static async open(uri: string, ...busy: string[]): Promise<LiveSession> {
    const session = new LiveSession(uri);
    await session.client.connect();
    const last = busy.pop();
    for (const text of busy) await session.client.query(text);
    if (last !== undefined) void session.client.query(last).catch(() => undefined);
    return session;
  }
}

let stack: Stack;
beforeAll(async () => {
  stack = await sharedStack();
});
afterAll(() => stack && leave(stack));

describe('scoped credentials on a real stack', () => {
  let project: string;
  let main: BranchHandle;

  beforeAll(async () => {
    const made = await stack.ask('POST', '/projects', { project: { name: 'credentials' } });
    project = made.project.id;
    main = {
      id: made.branch.id,
      endpoint: made.endpoints[0].id,
      uri: made.connection_uris[0].connection_uri,
    };
    await sql(main.uri, ...TRAPS);
    await sql(changed(main.uri, { database: 'second' }), 'create table other as select 1 as a');
  });

  const of = (branchId: string): string => `/projects/${project}/branches/${branchId}/scoped_credentials`;
  const credential = (body: object = {}, branchId = main.id): Promise<Json> =>
    stack.ask('POST', of(branchId), { credential: body });
  const revoke = (id: string): Promise<Json> => stack.ask('DELETE', `${of(main.id)}/${id}`);
  const states = async (): Promise<Json> =>
    (await stack.ask('GET', `/projects/${project}/endpoints`)).endpoints
      .map((e: Json) => [e.id, e.current_state])
      .sort();
  const suspend = (endpoint: string): Promise<Json> =>
    stack.ask('POST', `/projects/${project}/endpoints/${endpoint}/suspend`);

  it('a read-write one acts as its role', async () => {
    const { connection_uri: uri, credential: made } = await credential({ ttl_seconds: 600 });
    expect(made).toMatchObject({ access: 'read_write', role_name: 'neondb_owner', ttl_seconds: 600 });
    const rows = await sql(
      uri,
      "insert into t values (1001, 'by credential')",
      'select current_user as it, b from t where a = 1001',
    );
    expect(rows).toEqual([{ it: 'neondb_owner', b: 'by credential' }]);
  });

  it('a read-only one reads everything, and no trick makes it write', async () => {
    const { connection_uri: uri } = await credential({ access: 'read_only' });
    const second = changed(uri, { database: 'second' });
    expect(await sql(uri, 'select current_user as it, count(*)::int as n from t')).toEqual([
      { it: 'coppice_reader', n: 501 },
    ]);
    expect(await sql(second, 'select a from other')).toEqual([{ a: 1 }]);
    const all = () =>
      Promise.all([main.uri, changed(main.uri, { database: 'second' })].map((at) => fingerprint(at)));
    const before = { databases: await all(), besides: await sql(main.uri, BESIDES) };

    const refusals: Record<string, string> = {};
    for (const [name, statements] of TRICKS)
      refusals[name] = await withClient(uri, async (client) => {
        for (const text of statements) {
          const refused = await sqlstate(client.query(text));
          if (refused === 'done') continue;
          await client.query('rollback');
          expect(await sqlstate(client.query('insert into t values (-1)'))).toBe(READ_ONLY);
          return refused;
        }
        return 'nothing was refused';
      });
    expect(refusals).toEqual(Object.fromEntries(TRICKS.map(([name, , wanted]) => [name, wanted])));
    for (const options of ['-c transaction_read_only=off', '-c role=neondb_owner']) {
      const url = new URL(uri);
      url.searchParams.set('options', `endpoint=${main.endpoint} ${options}`);
      expect(await sqlstate(sql(url.href, 'insert into t values (0)'))).toMatch(/^(25006|42501|22023)$/);
    }

    const after = { databases: await all(), besides: await sql(main.uri, BESIDES) };
    expect(after.besides).toEqual(before.besides);
    expect(after.databases.map((d) => d.parts)).toEqual(before.databases.map((d) => d.parts));
    expect(after.databases.flatMap((d, i) => sequenceFaults(d, before.databases[i]!))).toEqual([]);
  });

  it('a child branch inherits none', async () => {
    const { connection_uri: uri } = await credential();
    const child = await fork(stack, project);
    expect((await stack.ask('GET', of(child.id))).credentials).toEqual([]);
    expect(await sqlstate(sql(changed(uri, { endpoint: child.endpoint }), 'select 1'))).toBe(WRONG_PASSWORD);
    const { password } = new URL(main.uri);
    expect(await sqlstate(sql(changed(child.uri, { password }), 'select 1'))).toBe(WRONG_PASSWORD);
    const own = await credential({ access: 'read_only' }, child.id);
    expect(await sql(own.connection_uri, 'select count(*)::int as n from t')).toEqual([{ n: 501 }]);
    expect(await sqlstate(sql(changed(own.connection_uri, { endpoint: main.endpoint }), 'select 1'))).toBe(
      WRONG_PASSWORD,
    );
  });

  it('ones that are wrong, expired or revoked start no compute', async () => {
    const short = await credential({ ttl_seconds: 1 });
    const ended = await credential();
    const good = await credential();
    await revoke(ended.credential.id);
    await suspend(main.endpoint);
    await sleep(1_100);
    const before = { states: await states(), pids: stack.computePids().length };
    const wrong = changed(good.connection_uri, { password: ended.password });
    for (const uri of [short.connection_uri, ended.connection_uri, wrong])
      expect(await sqlstate(sql(uri, 'select 1'))).toBe(WRONG_PASSWORD);
    expect({ states: await states(), pids: stack.computePids().length }).toEqual(before);
    expect(await sql(good.connection_uri, 'select 1 as a')).toEqual([{ a: 1 }]);
  });

  it.each(['revoked', 'expired'])('sessions end within seconds of being %s, others live on', async (how) => {
    const ending = await credential(how === 'expired' ? { ttl_seconds: 2 } : {});
    const reading = await credential({
      access: 'read_only',
      ...(how === 'expired' ? { ttl_seconds: 2 } : {}),
    });
    const other = await credential();
    const long = `insert into t select 5000, 'late' from pg_sleep(12)`;
    const sessions = await Promise.all([
      LiveSession.open(ending.connection_uri),
      LiveSession.open(ending.connection_uri, 'begin', 'insert into t values (6000)', 'select 1'),
      LiveSession.open(ending.connection_uri, long),
      LiveSession.open(
        ending.connection_uri,
        "do 'begin loop begin perform pg_sleep(30); exception when query_canceled then null; end; end loop; end'",
      ),
      LiveSession.open(reading.connection_uri, 'select pg_sleep(30)'),
    ]);
    const others = await Promise.all([
      LiveSession.open(other.connection_uri, 'begin', 'select 1'),
      LiveSession.open(main.uri),
    ]);
    const running = async (): Promise<Json[]> =>
      (
        await others[1]!.client.query(
          "select query from pg_stat_activity where backend_type = 'client backend' and query ~ 'pg_sleep|6000' and pid <> pg_backend_pid()",
        )
      ).rows;
    expect(await running()).toHaveLength(3);
    const over = how === 'expired' ? Date.parse(reading.credential.expires_at) : Date.now();
    if (how === 'revoked') for (const c of [ending, reading]) await revoke(c.credential.id);
    await eventually(over + SESSIONS_END_WITHIN_MS - Date.now(), async () => {
      expect(sessions.map((s) => s.endedAt !== undefined)).toEqual(sessions.map(() => true));
      expect(await running()).toEqual([]);
    });
    for (const s of others) expect((await s.client.query('select 1 as a')).rows).toEqual([{ a: 1 }]);
    const { rows } = await others[1]!.client.query('select count(*)::int as n from t where a >= 5000');
    expect(rows).toEqual([{ n: 0 }]);
    for (const s of others) await s.client.end();
  });

  it('fifty on one branch all work, and go on after control-plane and proxy were killed', async () => {
    const fifty = await Promise.all(
      Array.from({ length: 50 }, (_, i) => credential({ access: i % 2 ? 'read_only' : 'read_write' })),
    );
    const connect = (c: Json) => sql(c.connection_uri, 'select current_user as it');
    const who = (await Promise.all(fifty.map(connect))).map(([row]) => row!['it']);
    expect(new Set(who)).toEqual(new Set(['neondb_owner', 'coppice_reader']));
    const { credentials } = await stack.ask('GET', of(main.id));
    const listed = new Set(credentials.map((c: Json) => c.id));
    expect(fifty.filter((c) => !listed.has(c.credential.id))).toEqual([]);
    expect(JSON.stringify(credentials)).not.toMatch(/password|verifier|SCRAM/i);
    for (const service of ['control-plane', 'compute-proxy']) stack.kill9(service);
    expect(await eventually(30_000, () => connect(fifty[1]))).toEqual([{ it: 'coppice_reader' }]);
    await eventually(20_000, () => revoke(fifty[1].credential.id));
    expect(await sqlstate(connect(fifty[1]))).toBe(WRONG_PASSWORD);
  });
});

describe('API keys on a real stack', () => {
  let key: string;
  const as = (secret: string, method: string, path: string, body?: unknown) =>
    stack.request(method, path, body, { authorization: `Bearer ${secret}` });

  beforeAll(async () => {
    key = (await stack.ask('POST', '/agents', { agent: { name: 'a' } })).api_key.key;
  });

  it('open what they are made for, and the rest looks absent', async () => {
    const other = (await stack.ask('POST', '/agents', { agent: { name: 'b' } })).api_key.key;
    const [mine, second] = await Promise.all(
      [1, 2].map(async (n) => (await as(key, 'POST', '/projects', { project: { name: `p${n}` } })).body),
    );
    const theirs = (await as(other, 'POST', '/projects', { project: { name: 'theirs' } })).body;
    const at = (p: Json, branch = p.branch.id) => `/projects/${p.project.id}/branches/${branch}`;
    const { branch } = (await as(key, 'POST', `/projects/${mine.project.id}/branches`, { branch: {} })).body;
    const make = async (body: object) =>
      (await as(key, 'POST', '/api_keys', { key_name: 'k', ...body })).body.key;
    const ofProject = await make({ project_id: mine.project.id });
    const ofBranch = await make({ project_id: mine.project.id, branch_id: branch.id });

    const status = async (secret: string, method: string, path: string, body?: unknown) => {
      const answer = await as(secret, method, path, body);
      return answer.status < 300 ? answer.status : `${answer.status} ${answer.body.code}`;
    };
    const creds = (p: Json, b?: string) => `${at(p, b)}/scoped_credentials`;
    expect(await status(key, 'GET', at(theirs))).toBe('404 project-not-found');
    expect(await status(key, 'POST', creds(theirs))).toBe('404 project-not-found');
    expect(await status(ofProject, 'GET', at(mine))).toBe(200);
    expect(await status(ofProject, 'GET', at(second))).toBe('404 project-not-found');
    expect(await status(ofProject, 'DELETE', `/projects/${second.project.id}`)).toBe('403 key-scope');
    expect(await status(ofBranch, 'GET', at(mine, branch.id))).toBe(200);
    expect(await status(ofBranch, 'POST', creds(mine, branch.id))).toBe(201);
    expect(await status(ofBranch, 'GET', at(mine))).toBe('404 branch-not-found');
    expect(await status(ofBranch, 'POST', creds(mine))).toBe('404 branch-not-found');
    // As for any branch that is gone.
    expect(await status(ofBranch, 'DELETE', at(mine))).toBe(204);
    expect(await status(ofBranch, 'PATCH', at(mine), { branch: { name: 'x' } })).toBe('404 branch-not-found');
    expect(await status(ofBranch, 'POST', '/agents', { agent: {} })).toBe('403 operator-only');
    expect(await status(ofBranch, 'POST', '/projects', { project: {} })).toBe('403 key-scope');
    expect(await status(ofBranch, 'POST', '/api_keys', { key_name: 'more' })).toBe('403 key-scope');
    expect(await status(key, 'GET', at(mine))).toBe(200);
  });

  it('are over at once when they are revoked or expired', async () => {
    const short = (await as(key, 'POST', '/api_keys', { key_name: 'short', ttl_seconds: 2 })).body;
    const revoked = (await as(key, 'POST', '/api_keys', { key_name: 'revoked' })).body;
    for (const made of [short, revoked]) expect((await as(made.key, 'GET', '/projects')).status).toBe(200);
    await as(key, 'DELETE', `/api_keys/${revoked.id}`);
    await sleep(2_100);
    for (const made of [short, revoked]) expect((await as(made.key, 'GET', '/projects')).status).toBe(401);
    const listed = (await as(key, 'GET', '/api_keys')).body;
    expect(JSON.stringify(listed)).not.toContain('cpk_');
  });
});
