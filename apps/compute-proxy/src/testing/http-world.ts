/** The HTTP side of the proxy in this process, in front of a real Postgres that stands for one endpoint's compute. */
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deriveVerifier, type ScramVerifier } from '@coppice/postgres';
import { CoppiceError, type Part, silentLog, systemClock, systemRandom } from '@coppice/service-kit';
import { startPostgres, type TestPostgres } from '@coppice/testing';
import { CancelKeys } from '../cancel/cancel-keys';
import { Certificate } from '../tls/certificate';
import { makePem } from '../tls/pem.fixture';
import { answerSql } from '../http/answer-sql';
import { ByteBudget } from '../http/byte-budget';
import { GuessLimit } from '../limits/guess-limit';
import { httpPart } from '../http/http-part';
import { PasswordLogins } from '../http/password-logins';
import { GENEROUS } from '../proxy.fixture';
import { LoginLimits } from '../limits/login-limits';
import { LiveCredentials } from '../live-credentials';
import { ServerPool } from '../pool/server-pool';
import { serveClient } from '../session';
import { webSockets } from '../websocket/web-sockets';
import { wakeAndOpen } from '../wake-and-open';

export const ENDPOINT = 'ep-calm-fox-1';
export const MAX_BYTES = 1_000_000;
const PING_EVERY_MS = 1_000;
export const MAX_CONNECTIONS = 300;

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await new Promise((r) => probe.once('listening', r));
  const { port } = probe.address() as AddressInfo;
  await new Promise((r) => probe.close(r));
  return port;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly json: any;
}

export class HttpWorld {
  readonly directory = mkdtempSync(join(tmpdir(), 'http-'));
  readonly budget = new ByteBudget(8 * MAX_BYTES);
  readonly endedCredentials = new Set<string>();
  readonly postgres: TestPostgres;
  readonly port: number;
  readonly #parts: Part[] = [];
  readonly live: LiveCredentials;
  wakes = 0;
  /** Whether a wake starts the compute. */
  isStarted = false;
  #starting: Promise<void> | undefined;

  private constructor(postgres: TestPostgres, port: number, verifier: ScramVerifier) {
    this.postgres = postgres;
    this.port = port;
    const pem = makePem(this.directory);
    const certificate = new Certificate(pem.cert, pem.key, silentLog());
    this.live = new LiveCredentials({
      findEnded: async () => [...this.endedCredentials],
      clock: systemClock,
      log: silentLog(),
    });
    const common = { clock: systemClock, random: systemRandom, log: silentLog() };
    const waking = {
      ...common,
      wakeTimeoutMs: 5_000,
      wake: async () => {
        this.wakes += 1;
        if (postgres.pid === undefined)
          this.#starting ??= postgres.start().finally(() => (this.#starting = undefined));
        await this.#starting;
        return {
          computeId: 'c',
          socketDirectory: postgres.socketDirectory,
          port: postgres.port,
          started: this.isStarted,
        };
      },
    };
    const lookUpLogin = async (endpoint: string, role: string) => {
      if (endpoint !== ENDPOINT)
        throw new CoppiceError('NotFound', 'endpoint-not-found', `endpoint ${endpoint} does not exist`);
      const found = {
        ...verifier,
        credentialId: 'c',
        expiresUnixMs: 0,
        readOnly: false,
        connectAs: 'app',
      };
      return { branchId: 'br-a-b-c', agentId: 'agent', verifiers: role === 'app' ? [found] : [] };
    };
    const transfers = { add: () => () => undefined };
    const pool = new ServerPool({
      ...common,
      open: ({ endpoint, parameters, readOnly }, signal) =>
        wakeAndOpen(endpoint, { parameters, readOnly }, waking, signal),
      liveCredentials: this.live,
      transfers,
      maxServers: 20,
      maxServersPerEndpoint: 10,
      maxWaitingPerEndpoint: 100,
      waitTimeoutMs: 5_000,
      idleTimeoutMs: 60_000,
      maxStatementBytes: 32 * 1024 * 1024,
    });
    const guesses = new GuessLimit({ perSecond: 1, burst: 10, clock: systemClock });
    const session = {
      ...waking,
      pool,
      transfers,
      limits: new LoginLimits(GENEROUS, systemClock),
      guesses,
      liveCredentials: this.live,
      lookUpLogin,
      cancelKeys: new CancelKeys(systemRandom),
      mockSecret: systemRandom.bytes(32),
      tls: () => certificate.current,
      loginTimeoutMs: 2_000,
    };
    const sql = {
      ...common,
      pool,
      liveCredentials: this.live,
      logins: new PasswordLogins({ ...common, lookUp: lookUpLogin, guesses }),
      maxRequestBytes: MAX_BYTES,
      maxResponseBytes: MAX_BYTES,
      receiveMs: 2_000,
    };
    this.#parts = [
      certificate.part(),
      pool.asPart(),
      httpPart({
        ...common,
        host: '127.0.0.1',
        port,
        maxConnections: MAX_CONNECTIONS,
        allowPlain: false,
        receiveMs: 2_000,
        tls: session.tls,
        budget: this.budget,
        sql: (call) => answerSql(call, sql),
        upgrade: webSockets({
          maxFrameBytes: MAX_BYTES,
          budget: this.budget,
          pingEveryMs: PING_EVERY_MS,
          serve: (stream, arrival) => serveClient(stream, session, arrival),
        }),
      }),
    ];
  }

  static async start(): Promise<HttpWorld> {
    const postgres = await startPostgres({});
    await postgres.query('create role app login superuser');
    await postgres.query('create role coppice_admin login superuser');
    const verifier = await deriveVerifier('s3cret', Buffer.from('0123456789abcdef'), 4096);
    const world = new HttpWorld(postgres, await freePort(), verifier);
    for (const part of world.#parts) await part.start();
    return world;
  }

  async stop(): Promise<void> {
    for (const part of [...this.#parts].reverse()) await part.stop();
    await this.postgres.dispose();
    rmSync(this.directory, { recursive: true });
  }

  /** Names the endpoint in the options, as where hosts are addresses. */
  uri(password = 's3cret', role = 'app', endpoint = ENDPOINT): string {
    return `postgresql://${role}:${password}@127.0.0.1:7432/postgres?options=endpoint%3D${endpoint}`;
  }

  /** Stops the compute, as the agent does; the next wake starts it. */
  async suspend(): Promise<void> {
    await this.postgres.stop('fast');
  }

  /** To `/sql`, with the right password unless the headers say otherwise. */
  async post(body: unknown, headers: Record<string, string> = {}, signal?: AbortSignal): Promise<Answer> {
    const response = await fetch(`http://127.0.0.1:${this.port}/sql`, {
      method: 'POST',
      headers: { 'neon-connection-string': this.uri(), ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
      ...(signal ? { signal } : {}),
    });
    return { status: response.status, headers: response.headers, json: await response.json() };
  }

  /** Resolves while a statement with the mark in its text runs. */
  async running(mark: string): Promise<void> {
    while ((await this.#active(mark)) === 0) await systemClock.sleep(5);
  }

  /** Resolves when none does. */
  async ended(mark: string): Promise<void> {
    while ((await this.#active(mark)) > 0) await systemClock.sleep(5);
  }

  async #active(mark: string): Promise<number> {
    const [row] = await this.postgres.query<{ n: number }>(
      `select count(*)::int as n from pg_stat_activity where state = 'active' and pid <> pg_backend_pid() and query like '%${mark}%'`,
    );
    return row!.n;
  }

  /** Ends the sessions of the credential, as its revocation does. */
  async endCredential(): Promise<void> {
    this.endedCredentials.add('c');
    await this.live.check(new AbortController().signal);
    this.endedCredentials.clear();
  }
}
