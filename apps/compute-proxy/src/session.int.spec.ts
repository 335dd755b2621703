import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { connect as connectSocket, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import type { ScramVerifier } from '@coppice/postgres';
import { deriveVerifier } from '@coppice/postgres';
import type { Part } from '@coppice/service-kit';
import { CoppiceError, silentLog, systemClock, systemRandom } from '@coppice/service-kit';
import type { TestPostgres } from '@coppice/testing';
import { startPostgres } from '@coppice/testing';
import { CancelKeys } from './cancel/cancel-keys';
import { Certificate } from './tls/certificate';
import { GuessLimit } from './limits/guess-limit';
import { listener } from './listener';
import { LiveCredentials } from './live-credentials';
import { LoginLimits } from './limits/login-limits';
import { ServerPool } from './pool/server-pool';
import { GENEROUS } from './proxy.fixture';
import { serveClient } from './session';
import { firstRows } from './testing/first-rows';
import { makePem } from './tls/pem.fixture';
import { TransferMeter } from './transfer-meter';
import { wakeAndOpen } from './wake-and-open';

const run = promisify(execFile);
const PSQL = '/usr/lib/postgresql/15/bin/psql';
const ENDPOINT = 'ep-calm-fox-1';

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await new Promise((r) => probe.once('listening', r));
  const { port } = probe.address() as AddressInfo;
  await new Promise((r) => probe.close(r));
  return port;
}

describe('the proxy before a real Postgres', () => {
  const directory = mkdtempSync(join(tmpdir(), 'proxy-'));
  let server: TestPostgres;
  let verifier: ScramVerifier;
  let port: number;
  let parts: Part[];
  let live: LiveCredentials;
  let transfers: TransferMeter;
  let pool: ServerPool;
  let transferred = 0;
  const endedCredentials = new Set<string>();
  let wakes = 0;
  /** How long a start takes, milliseconds; `undefined`: the compute runs. */
  let startMs: number | undefined;
  let readOnlyLogin = false;
  let wakeFailure: Error | undefined;

  beforeAll(async () => {
    const pem = makePem(directory);
    server = await startPostgres({});
    await server.query('create role app login superuser');
    await server.query('create role coppice_admin login superuser');
    verifier = await deriveVerifier('s3cret', Buffer.from('0123456789abcdef'), 4096);
    port = await freePort();
    const certificate = new Certificate(pem.cert, pem.key, silentLog());
    live = new LiveCredentials({
      findEnded: async () => [...endedCredentials],
      clock: systemClock,
      log: silentLog(),
    });
    transfers = new TransferMeter({
      tell: async (told) => {
        for (const { bytes } of told) transferred += bytes;
      },
      log: silentLog(),
    });
    const waking = {
      clock: systemClock,
      wakeTimeoutMs: 5_000,
      wake: async () => {
        wakes += 1;
        if (wakeFailure) throw wakeFailure;
        if (startMs !== undefined) await systemClock.sleep(startMs);
        return {
          computeId: 'compute-1',
          socketDirectory: server.socketDirectory,
          port: server.port,
          started: startMs !== undefined,
        };
      },
    };
    pool = new ServerPool({
      open: ({ endpoint, parameters, readOnly }, signal) =>
        wakeAndOpen(endpoint, { parameters, readOnly }, waking, signal),
      liveCredentials: live,
      transfers,
      clock: systemClock,
      log: silentLog(),
      maxServers: 10,
      maxServersPerEndpoint: 5,
      maxWaitingPerEndpoint: 100,
      waitTimeoutMs: 5_000,
      idleTimeoutMs: 60_000,
      maxStatementBytes: 32 * 1024 * 1024,
    });
    const services = {
      ...waking,
      pool,
      log: silentLog(),
      random: systemRandom,
      cancelKeys: new CancelKeys(systemRandom),
      liveCredentials: live,
      transfers,
      limits: new LoginLimits(GENEROUS, systemClock),
      guesses: new GuessLimit({ perSecond: 1, burst: 100, clock: systemClock }),
      mockSecret: systemRandom.bytes(32),
      tls: () => certificate.current,
      lookUpLogin: async (endpoint: string, role: string) => {
        if (endpoint !== ENDPOINT)
          throw new CoppiceError('NotFound', 'endpoint-not-found', `endpoint ${endpoint} does not exist`, {
            remedy: 'List endpoints.',
          });
        return {
          branchId: 'br-a-b-c',
          agentId: 'agent',
          verifiers:
            role === 'app'
              ? [
                  {
                    ...verifier,
                    credentialId: 'c',
                    expiresUnixMs: 0,
                    readOnly: readOnlyLogin,
                    connectAs: 'app',
                  },
                ]
              : [],
        };
      },
      loginTimeoutMs: 2_000,
    };
    parts = [
      certificate.part(),
      listener({
        host: '127.0.0.1',
        port,
        maxConnections: 20,
        log: silentLog(),
        serve: (s) => serveClient(s, services),
      }),
    ];
    for (const p of parts) await p.start();
  });
  afterAll(async () => {
    for (const p of [...parts].reverse()) await p.stop();
    await server.dispose();
    rmSync(directory, { recursive: true });
  });
  beforeEach(() => {
    wakes = 0;
    startMs = undefined;
    readOnlyLogin = false;
    wakeFailure = undefined;
  });

  const client = (over: object = {}): Client =>
    new Client({
      host: '127.0.0.1',
      port,
      user: 'app',
      password: 's3cret',
      database: 'postgres',
      options: `endpoint=${ENDPOINT}`,
      ...over,
    });
  const attempt = async (over: object): Promise<{ code?: string; message: string }> => {
    const c = client(over);
    c.on('error', () => undefined);
    try {
      await c.connect();
      await c.end();
      return { message: 'connected' };
    } catch (error) {
      return error as { code?: string; message: string };
    }
  };
  const psql = async (conninfo: string, ...args: string[]): Promise<string> =>
    (await run(PSQL, [conninfo, '-XAt', ...args], { timeout: 20_000 })).stdout.trim();

  it('lets a driver in by SCRAM and passes options on', async () => {
    const c = client({ options: `endpoint=${ENDPOINT} -c work_mem=7MB` });
    await c.connect();
    expect((await c.query('show work_mem')).rows).toEqual([{ work_mem: '7MB' }]);
    expect((await c.query("select repeat('x', 3000000) as long")).rows[0].long).toHaveLength(3_000_000);
    await c.end();
  });
  it.each([
    ['in clear', {}],
    ['over TLS', { ssl: { rejectUnauthorized: false } }],
  ])(
    'measures the time to the first row of a session for which a compute was started, %s',
    async (_, over) => {
      const before = await firstRows();
      startMs = 100;
      const from = systemClock.monotonic();
      const c = client(over);
      await c.connect();
      // Its own time, in which a notice is no answer.
      await systemClock.sleep(1_500);
      expect((await firstRows()).count).toBe(before.count);
      await c.query('select pg_sleep(0.1)');
      const { count, seconds } = await firstRows();
      const allSeconds = (systemClock.monotonic() - from) / 1_000;
      expect(count).toBe(before.count + 1);
      expect(seconds - before.seconds).toBeGreaterThan(0.2);
      expect(seconds - before.seconds).toBeLessThan(allSeconds - 1);
      await c.query('select 1');
      await c.end();
      startMs = undefined;
      expect(await attempt(over)).toMatchObject({ message: 'connected' });
      expect((await firstRows()).count).toBe(before.count + 1);
    },
  );
  it('routes by server name over TLS with channel binding', async () => {
    const info = `host=${ENDPOINT}.db.test hostaddr=127.0.0.1 port=${port} user=app password=s3cret dbname=postgres sslmode=require channel_binding=require`;
    expect(await psql(info, '-c', 'select current_user')).toBe('app');
  });
  it('takes the endpoint with the password', async () => {
    const info = `host=127.0.0.1 port=${port} user=app dbname=postgres sslmode=require`;
    expect(await psql(`${info} password=endpoint=${ENDPOINT};s3cret`, '-c', 'select 1')).toBe('1');
    await expect(psql(`${info} password=endpoint=${ENDPOINT};wrong`, '-c', 'select 1')).rejects.toThrow(
      'password authentication failed',
    );
    await expect(psql(`${info} password=s3cret`, '-c', 'select 1')).rejects.toThrow(
      'does not name an endpoint',
    );
  });
  it('ends a session whose credential is over, and others not', async () => {
    const [one, other] = [client(), client()];
    await one.connect();
    await other.connect();
    const gone = new Promise<void>((resolve) => one.once('end', resolve));
    one.on('error', () => undefined);
    other.on('error', () => undefined);
    endedCredentials.add('another');
    await live.check(new AbortController().signal);
    expect((await one.query('select 1 as a')).rows).toEqual([{ a: 1 }]);
    endedCredentials.add('c');
    await live.check(new AbortController().signal);
    await gone;
    endedCredentials.clear();
    await other.end().catch(() => undefined);
  });
  it('ends its backend as well, in the middle of a statement that would not be cancelled', async () => {
    const [one, watching] = [client(), await server.connect()];
    await one.connect();
    one.on('error', () => undefined);
    const busy =
      "do 'begin loop begin perform pg_sleep(30); exception when query_canceled then null; end; end loop; end'";
    const last = one.query(busy).catch((error: unknown) => error);
    const running = async () =>
      (await watching.query("select from pg_stat_activity where query ~ '^do' and state = 'active'"))
        .rowCount;
    while ((await running()) === 0) await systemClock.sleep(10);
    endedCredentials.add('c');
    await live.check(new AbortController().signal);
    expect(await last).toMatchObject({ code: '57P01' });
    expect(await running()).toBe(0);
    endedCredentials.clear();
    await watching.end();
  });
  it('counts the bytes between client and compute', async () => {
    await transfers.tell();
    transferred = 0;
    const c = client();
    await c.connect();
    await c.query("select repeat('x', 100000)");
    await transfers.tell();
    expect(transferred).toBeGreaterThan(100_000);
    expect(transferred).toBeLessThan(110_000);
    await c.end();
  });
  it('copies in and out through psql', async () => {
    const file = join(directory, 'rows');
    const info = `postgresql://app:s3cret@127.0.0.1:${port}/postgres?options=endpoint%3D${ENDPOINT}`;
    await psql(
      info,
      '-c',
      'create table copied(a int)',
      '-c',
      `\\copy (select generate_series(1,50000)) to '${file}'`,
      '-c',
      `\\copy copied from '${file}'`,
    );
    expect(readFileSync(file, 'utf8').split('\n')).toHaveLength(50_001);
    expect(await psql(info, '-c', 'select count(*), sum(a) from copied')).toBe('50000|1250025000');
  });
  it('refuses a wrong password and an unknown role alike, and wakes nothing', async () => {
    expect(await attempt({ password: 'nope' })).toMatchObject({
      code: '28P01',
      message: 'password authentication failed for user "app"',
    });
    expect(await attempt({ user: 'ghost' })).toMatchObject({
      code: '28P01',
      message: 'password authentication failed for user "ghost"',
    });
    expect(wakes).toBe(0);
  });
  it('ends a read-only session of a server that does not lock it', async () => {
    readOnlyLogin = true;
    expect(await attempt({})).toMatchObject({ code: '57P03' });
    const directory = join(server.socketDirectory, 'read-only');
    mkdirSync(directory);
    symlinkSync(
      join(server.socketDirectory, `.s.PGSQL.${server.port}`),
      join(directory, `.s.PGSQL.${server.port}`),
    );
    expect(await attempt({})).toMatchObject({ code: 'XX000', message: expect.stringContaining('read-only') });
    await server.query('alter role app set default_transaction_read_only = on');
    expect(await attempt({})).toEqual({ message: 'connected' });
    await server.query('alter role app reset default_transaction_read_only');
  });
  it('names an unknown endpoint', async () => {
    expect(await attempt({ options: 'endpoint=ep-no-no-no' })).toMatchObject({
      code: '08004',
      message: 'endpoint ep-no-no-no does not exist',
    });
  });
  it('passes on why a compute does not start, and what the server itself refuses', async () => {
    expect(await attempt({ database: 'nowhere' })).toMatchObject({ code: '3D000' });
    wakeFailure = new CoppiceError('QuotaExceeded', 'quota-exceeded', 'compute seconds are used up', {
      remedy: 'Raise the limit.',
    });
    expect(await attempt({})).toMatchObject({ code: '53400', message: 'compute seconds are used up' });
  });
  it('does not tell clients what went wrong inside', async () => {
    for (const failure of [
      new Error('no column of /srv/secret'),
      new CoppiceError('Unavailable', 'peer-unavailable', 'Wake: connect ENOENT /srv/secret'),
    ]) {
      wakeFailure = failure;
      expect(JSON.stringify(await attempt({}))).not.toContain('secret');
    }
  });

  it('cancels a query by a key of its own', async () => {
    const c = client();
    await c.connect();
    const { processID, secretKey } = c as unknown as { processID: number; secretKey: number };
    const slow = c.query('select pg_sleep(20)').catch((error: { code: string }) => error.code);
    await systemClock.sleep(100);
    const cancel = connectSocket(port, '127.0.0.1');
    const packet = Buffer.alloc(16);
    [16, 80877102, processID, secretKey].forEach((n, i) => packet.writeInt32BE(n | 0, i * 4));
    cancel.write(packet);
    expect(await slow).toBe('57014');
    await c.end();
  });
  it('answers garbage and slowness with an error and a close', async () => {
    const talk = (bytes: Buffer): Promise<string> =>
      new Promise((resolve) => {
        const s = connectSocket(port, '127.0.0.1');
        let got = '';
        s.on('data', (d) => (got += d.toString('latin1')));
        s.on('close', () => resolve(got));
        s.on('error', () => undefined);
        s.write(bytes);
      });
    expect(await talk(Buffer.from('GET / HTTP/1.1\r\n\r\n'))).toContain('invalid length of startup packet');
    expect(await talk(Buffer.from([0, 0, 0, 9, 0, 3, 0, 0, 65]))).toContain('invalid startup packet layout');
    expect(await talk(Buffer.from([0, 0]))).toContain('not completed in time');
    const sslRequest = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
    expect(await talk(sslRequest)).toMatch(/^S/);
  });
  it('says nothing to who leaves before a session begins', async () => {
    const s = connectSocket(port, '127.0.0.1').end(Buffer.from([0x58, 0, 0, 0, 4]));
    let got = 0;
    s.on('data', (d: Buffer) => (got += d.length));
    await new Promise((resolve) => s.on('close', resolve));
    expect(got).toBe(0);
  });
  it('tells the client when the server ends the session', async () => {
    const c = client();
    const ended = new Promise<unknown>((resolve) => c.on('error', (error: Error) => resolve(error)));
    await c.connect();
    const { rows } = await c.query('select pg_backend_pid() as pid');
    await server.query('select pg_terminate_backend($1)', [rows[0].pid]);
    expect(await ended).toMatchObject({ code: '57P01' });
  });
});
