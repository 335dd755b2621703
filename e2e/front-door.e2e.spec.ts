/** What clients do through the proxy beside queries, and what may not happen when they are slow, wrong, or cut off: on a real stack. */
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  eventually,
  FULL,
  type Json,
  leave,
  PG15,
  sharedStack,
  sql,
  type Stack,
  withClient,
} from '@coppice/testing';
import { Client, Query } from 'pg';

jest.setTimeout(240_000);

const run = promisify(execFile);
const PSQL = join(PG15, 'psql');
const MB = 1024 * 1024;
const RESULT_MB = FULL ? 1024 : 96;
/** What a result on its way may cost the proxy, whatever its size. */
const PROXY_MAY_GROW = 40 * MB;

let stack: Stack;
let project: string;
let endpoint: string;
let uri: string;
const directory = mkdtempSync(join(tmpdir(), 'front-door-'));

beforeAll(async () => {
  stack = await sharedStack();
  const made = await stack.ask('POST', '/projects', { project: { name: 'front-door' } });
  project = made.project.id;
  endpoint = made.endpoints[0].id;
  uri = made.connection_uris[0].connection_uri;
});
afterAll(async () => {
  if (stack) await leave(stack);
  rmSync(directory, { recursive: true, force: true });
});

const proxyPid = (): number => stack.file.services.find((s) => s.name === 'compute-proxy')!.pid;
const rssOf = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024;
const psql = async (...args: string[]): Promise<string> =>
  (await run(PSQL, [uri, '-XAtq', ...args], { timeout: 120_000 })).stdout.trim();
const suspend = (): Promise<Json> => stack.ask('POST', `/projects/${project}/endpoints/${endpoint}/suspend`);
const state = async (): Promise<string> =>
  (await stack.ask('GET', `/projects/${project}/endpoints/${endpoint}`)).endpoint.current_state;

it('copies in and out', async () => {
  const file = join(directory, 'rows');
  await psql('-c', 'create table copied (a int primary key, b text)');
  await psql(
    '-c',
    `\\copy (select g, repeat(md5(g::text), 4) from generate_series(1, 10000) g) to '${file}'`,
  );
  await psql('-c', `\\copy copied from '${file}'`);
  expect(await psql('-c', 'select count(*), sum(a), sum(length(b)) from copied')).toBe(
    '10000|50005000|1280000',
  );
  await psql('-c', `\\copy (select * from copied order by a) to '${file}.back'`);
  expect(readFileSync(`${file}.back`).equals(readFileSync(file))).toBe(true);
});

it('carries notifications from one client to another', async () => {
  await withClient(uri, async (listening) => {
    const heard = new Promise((resolve) => listening.once('notification', resolve));
    await listening.query('listen news');
    await sql(uri, "notify news, 'the front door is open'");
    expect(await heard).toMatchObject({ channel: 'news', payload: 'the front door is open' });
  });
});

it('cancels what psql is told to interrupt', async () => {
  const child = spawn(PSQL, [uri, '-XAtq', '-c', 'select pg_sleep(100)'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const sleeping =
    "select from pg_stat_activity where query ~ 'pg_sleep.100' and state = 'active' and pid <> pg_backend_pid()";
  await eventually(10_000, async () => expect(await sql(uri, sleeping)).toHaveLength(1));
  child.kill('SIGINT');
  await ended;
  expect(said).toContain('canceling statement due to user request');
});

it('holds next to nothing of a large result whose client does not read it', async () => {
  const client = new Client({ connectionString: uri });
  await client.connect();
  const { stream } = (client as unknown as { connection: { stream: { pause(): void; resume(): void } } })
    .connection;
  const before = rssOf(proxyPid());
  const query = client.query(
    new Query(`select repeat('x', ${MB}) as x from generate_series(1, ${RESULT_MB})`),
  );
  let bytes = 0;
  const done = new Promise<void>((resolve, reject) => {
    query.on('row', (row: Json) => void (bytes += row.x.length));
    query.on('end', () => resolve()).on('error', reject);
  });
  stream.pause();
  // The server has filled what there is between it and the client, and waits.
  const waiting = "select from pg_stat_activity where wait_event = 'ClientWrite'";
  await eventually(20_000, async () => expect(await sql(uri, waiting)).toHaveLength(1));
  await sleep(1_000);
  expect(rssOf(proxyPid()) - before).toBeLessThan(PROXY_MAY_GROW);
  stream.resume();
  await done;
  expect(bytes).toBe(RESULT_MB * MB);
  expect(rssOf(proxyPid()) - before).toBeLessThan(PROXY_MAY_GROW);
  await client.end();
});

it('wakes nothing for who does not know the password, or whose credential is over', async () => {
  const branch = (await stack.ask('GET', `/projects/${project}/endpoints/${endpoint}`)).endpoint.branch_id;
  const short = await stack.ask('POST', `/projects/${project}/branches/${branch}/scoped_credentials`, {
    credential: { ttl_seconds: 1 },
  });
  await suspend();
  await sleep(1_200);
  const wrong = uri.replace(/:npg_[^@]+@/, ':npg_wrong@');
  const nobody = uri.replace(/\/\/[^:]+:/, '//nobody:');
  for (const attempt of [wrong, nobody, short.connection_uri])
    for (const tls of ['', '&sslmode=require'])
      await expect(run(PSQL, [attempt + tls, '-XAtc', 'select 1'])).rejects.toThrow(
        'password authentication failed',
      );
  expect([await state(), stack.computePids()]).toEqual(['idle', []]);
});

it('leaves computes unharmed when the proxy is killed, and lets clients in again', async () => {
  await sql(uri, 'create table kept (a int)', 'insert into kept values (1)');
  const client = new Client({ connectionString: uri });
  const cut = new Promise((resolve) => client.once('error', resolve));
  await client.connect();
  await client.query('begin');
  await client.query('insert into kept values (2)');
  const [computes, proxy] = [stack.computePids(), proxyPid()];
  stack.kill9('compute-proxy');
  await cut;
  const rows = await eventually(30_000, () => sql(uri, 'select a from kept'));
  expect(rows).toEqual([{ a: 1 }]);
  expect(stack.computePids()).toEqual(computes);
  await eventually(10_000, async () => expect(proxyPid()).not.toBe(proxy));
  // The transaction of the client that was cut off holds nothing any more.
  await sql(uri, "set lock_timeout = '10s'", 'drop table kept');
});
