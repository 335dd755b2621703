/** Waking and falling asleep: what keeps an endpoint awake, connections to the past, and more databases than fit at once. */
import { readFileSync } from 'node:fs';
import { FULL, eventually, fork, type Json, sql, Stack, withClient } from '@coppice/testing';
import { Client } from 'pg';

jest.setTimeout(240_000);

const MIB = 1024 * 1024;
/** For some idle computes; `--full` wakes 300 databases within what holds 40. */
const BUDGET_BYTES = (FULL ? 40 : 8) * 32 * MIB;
const DATABASES = FULL ? 300 : 14;

let stack: Stack;
beforeAll(async () => {
  stack = await Stack.start({
    COPPICE_ACTIVITY_EVERY_MS: '300',
    COPPICE_HEARTBEAT_EVERY_MS: '300',
    COPPICE_AGENT_MEMORY_BYTES: String(BUDGET_BYTES),
    COPPICE_UNUSED_FOR_MS: '1000',
    COPPICE_START_WAIT_MS: '4000',
  });
});
afterAll(() => stack?.remove());

const refusal = (work: Promise<unknown>): Promise<{ code: string; message: string; hint: string }> =>
  work.then(
    () => ({ code: 'done', message: '', hint: '' }),
    ({ code, message, hint }) => ({ code, message, hint }),
  );

const newProject = async (suspendSeconds: number) => {
  const made = await stack.ask('POST', '/projects', {
    project: { name: 'wake', default_endpoint_settings: { suspend_timeout_seconds: suspendSeconds } },
  });
  const endpoint: string = made.endpoints[0].id;
  return {
    id: made.project.id as string,
    branch: made.branch.id as string,
    endpoint,
    uri: made.connection_uris[0].connection_uri as string,
    path: `/projects/${made.project.id}/endpoints/${endpoint}`,
  };
};

describe('an endpoint falls asleep', () => {
  const activity = async (path: string): Promise<Json> =>
    (await stack.ask('GET', `${path}/activity`)).activity;

  it('though a client is connected that does nothing, which is told why', async () => {
    const { uri, path } = await newProject(2);
    const client = new Client({ connectionString: uri });
    const ended = new Promise<unknown>((resolve) => client.on('error', (error: Error) => resolve(error)));
    await client.connect();
    await client.query('select 1');
    expect(await activity(path)).toMatchObject({ running: true, kept_awake_by: [expect.anything()] });
    expect(await ended).toMatchObject({ code: '57P01' });
    await eventually(5_000, async () => expect((await activity(path)).running).toBe(false));
  });

  it('not while a transaction is open or prepared, and says so to who may see the branch', async () => {
    const { uri, path } = await newProject(2);
    await withClient(uri, async (client) => {
      await client.query("begin; create table t(a int); select 'a secret'");
      const { rows } = await client.query('select pg_backend_pid() as pid');
      await new Promise((resolve) => setTimeout(resolve, 4_000));
      const seen = await activity(path);
      expect(seen).toMatchObject({
        running: true,
        kept_awake_by: [
          { kind: 'transaction', pid: rows[0].pid, database: 'neondb', since: expect.any(String) },
        ],
      });
      expect(Date.parse(seen.suspends_at)).toBeGreaterThan(Date.parse(seen.seen_at));
      expect(JSON.stringify(seen)).not.toContain('secret');
      await client.query("prepare transaction 'until-noon'");
    });
    await eventually(5_000, async () =>
      expect((await activity(path)).kept_awake_by).toMatchObject([
        { kind: 'prepared-transaction', name: 'until-noon' },
      ]),
    );
    const { api_key: other } = await stack.ask('POST', '/agents', { agent: { name: 'other' } });
    const asOther = { authorization: `Bearer ${other.key}` };
    expect((await stack.request('GET', `${path}/activity`, undefined, asOther)).status).toBe(404);
    await sql(uri, "rollback prepared 'until-noon'");
    await eventually(8_000, async () => expect((await activity(path)).running).toBe(false));
  });
});

describe('a connection to the past', () => {
  const at = (uri: string, option: string): string => {
    const url = new URL(uri);
    const options = url.searchParams.get('options');
    url.searchParams.set('options', [options, option].filter(Boolean).join(' '));
    return url.toString();
  };

  it('sees what was there, and shares its compute with others that do', async () => {
    const { uri, id, branch } = await newProject(60);
    await sql(uri, 'create table kept as select 42 as answer', 'create database sales');
    const [{ lsn }] = (await sql(uri, 'select pg_current_wal_flush_lsn() as lsn')) as [{ lsn: string }];
    const time = new Date().toISOString();
    await new Promise((resolve) => setTimeout(resolve, 50));
    await sql(uri, 'drop table kept', 'drop database sales', 'create role late');
    const started = 'select answer, pg_postmaster_start_time()::text as started from kept';
    await withClient(at(uri, `neon_lsn:${lsn}`), async (one) => {
      const [first] = (await one.query(started)).rows;
      expect(first.answer).toBe(42);
      expect(await sql(at(uri, `neon_lsn:${lsn}`), started)).toEqual([first]);
      for (const write of [
        'delete from kept',
        'create table more(a int)',
        'set transaction_read_only = off; delete from kept',
      ])
        expect(await refusal(one.query(write))).toMatchObject({
          code: expect.stringMatching(/^(25006|22023|42501)$/),
        });
      expect(await refusal(one.query('insert into kept values (1)'))).toMatchObject({ code: '25006' });
    });
    expect(await sql(at(uri, `neon_timestamp:${time}`), 'select answer from kept')).toEqual([{ answer: 42 }]);
    const sales = new URL(at(uri, `neon_timestamp:${time} neon_endpoint_type:read_only`));
    sales.pathname = '/sales';
    expect(await sql(sales.toString(), 'select current_database() as name')).toEqual([{ name: 'sales' }]);
    // The branch itself is as it was left.
    expect(await refusal(sql(uri, 'table kept'))).toMatchObject({ code: '42P01' });
    expect(await sql(uri, "select count(*)::int as roles from pg_roles where rolname = 'late'")).toEqual([
      { roles: 1 },
    ]);
    const { branch: after } = await stack.ask('GET', `/projects/${id}/branches/${branch}`);
    expect(after.id).toBe(branch);
  });

  it('that there never was is refused with what there is', async () => {
    const { uri } = await newProject(60);
    const refused = (option: string) => refusal(sql(at(uri, option), 'select 1'));
    expect(await refused('neon_lsn:FF/0')).toMatchObject({
      code: '22023',
      hint: expect.stringMatching(/latest is \d+\//),
    });
    expect(await refused('neon_lsn:0/1')).toMatchObject({
      code: '22023',
      hint: expect.stringMatching(/earliest is \d+\//),
    });
    expect(await refused('neon_timestamp:2999-01-01T00:00:00Z')).toMatchObject({
      code: '22023',
      hint: expect.stringMatching(/latest is now/),
    });
    expect(await refused('neon_timestamp:2000-01-01T00:00:00Z')).toMatchObject({
      code: '22023',
      hint: expect.stringMatching(/earliest is 20/),
    });
    expect(await refused('neon_timestamp:noon')).toMatchObject({
      code: '22023',
      hint: expect.stringContaining('2026-01-01T12:00:00Z'),
    });
    expect(await refused('neon_lsn:0/2 neon_endpoint_type:read_write')).toMatchObject({ code: '22023' });
  });

  it('of now reads from the compute that writes, and cannot', async () => {
    const { uri } = await newProject(60);
    await sql(uri, 'create table t(a int)');
    const reads = at(uri, 'neon_endpoint_type:read_only');
    expect(await sql(reads, 'select count(*)::int as n from t')).toEqual([{ n: 0 }]);
    expect(await refusal(sql(reads, 'insert into t values (1)'))).toMatchObject({ code: '25006' });
  });
});

describe(`${DATABASES} databases, of which ${BUDGET_BYTES / 32 / MIB} fit`, () => {
  it('are all woken in turn, and never take more than they may', async () => {
    const { id } = await newProject(600);
    const uris: string[] = [];
    for (let i = 0; i < DATABASES; i++) uris.push((await fork(stack, id)).uri);
    let most = 0;
    for (const [i, uri] of uris.entries()) {
      expect(await sql(uri, `select ${i}::int as i`)).toEqual([{ i }]);
      most = Math.max(most, stack.computePids().length);
      expect(takenBytes()).toBeLessThan(BUDGET_BYTES);
    }
    expect(most).toBeGreaterThan(3);
    expect(most).toBeLessThan(DATABASES);
    // The last one is awake; the first one sleeps, and wakes again.
    expect(await sql(uris[0]!, 'select 1 as a')).toEqual([{ a: 1 }]);
  });

  it('that are all in use leave no room for another, which is told so', async () => {
    const { id } = await newProject(600);
    const clients: Client[] = [];
    try {
      let refused = { code: 'done', message: '', hint: '' };
      for (let i = 0; i < 60 && refused.code === 'done'; i++) {
        const client = new Client({ connectionString: (await fork(stack, id)).uri });
        client.on('error', () => undefined);
        refused = await refusal(client.connect().then(() => client.query('begin')));
        if (refused.code === 'done') clients.push(client);
      }
      expect(refused).toMatchObject({
        code: '57P03',
        message: expect.stringContaining('no compute agent has room'),
      });
      expect(refused.hint).toContain('COPPICE_AGENT_MEMORY_BYTES');
      for (const client of clients) expect((await client.query('select 1 as a')).rows).toEqual([{ a: 1 }]);
    } finally {
      await Promise.all(clients.map((c) => c.end().catch(() => undefined)));
    }
  });
});

/** What the computes' processes take: their own memory, and what they share once each. */
function takenBytes(): number {
  const kb = (pid: number, name: string): number => {
    try {
      return Number(
        new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0,
      );
    } catch {
      return 0;
    }
  };
  const children = (pid: number): number[] => {
    try {
      return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
    } catch {
      return [];
    }
  };
  return stack.computePids().reduce((sum, postmaster) => {
    const all = [postmaster, ...children(postmaster)];
    const shared = Math.max(...all.map((pid) => kb(pid, 'RssShmem')));
    return sum + 1024 * (shared + all.reduce((own, pid) => own + kb(pid, 'RssAnon'), 0));
  }, 0);
}
