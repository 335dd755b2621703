/**
 * A real PostgreSQL 17 for tests, in a directory of its own that is removed with it (also when the test process dies).
 *
 *   <tmp>/cpg-XXXXXX/       data/ the cluster      s/ its Unix socket      log its stderr
 *
 * The superuser is `postgres`, authentication is `trust`, it listens on its socket only unless `tcpPort` is given.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { chown, mkdir, mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, type ClientConfig, type QueryResultRow } from 'pg';
import { postgresBinDirectory } from '@coppice/service-kit';
import { guardDirectory } from './guardian';
import { initializedCluster } from './initialized-cluster';
import { childrenOf, isAlive } from './processes';
import { serverUser } from './server-user';

const START_DEADLINE_MS = 60_000;
const STOP_DEADLINE_MS = 60_000;
const DEFAULT_SEGMENT_MIB = 16;
const STOP_SIGNAL = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const;

export type PostgresSettings = Readonly<Record<string, string | number | boolean>>;

export interface PostgresOptions {
  /** Settings on top of the defaults of tests, given on the command line. */
  readonly settings?: PostgresSettings;
  readonly initdbArgs?: readonly string[];
  /** Also listen on 127.0.0.1 at this port. */
  readonly tcpPort?: number;
  /** Environment of the server process, on top of ours: `LD_PRELOAD`, for example. */
  readonly env?: Readonly<Record<string, string>>;
}

const TEST_SETTINGS: PostgresSettings = {
  fsync: false,
  shared_buffers: '16MB',
  max_connections: 40,
  log_checkpoints: false,
  log_min_messages: 'warning',
  wal_level: 'logical',
  max_wal_size: '4GB',
  wal_keep_size: '4GB',
  max_prepared_transactions: 10,
};

export class TestPostgres {
  readonly directory: string;
  readonly dataDirectory: string;
  readonly socketDirectory: string;
  readonly port: number;
  /** 16 MiB unless `--wal-segsize` was among the arguments of initdb. */
  readonly walSegmentSize: number;
  readonly #options: PostgresOptions;
  readonly #removeDirectory: () => Promise<void>;
  readonly #clients = new Map<string, Promise<Client>>();
  #process: ChildProcess | undefined;

  constructor(directory: string, options: PostgresOptions) {
    this.directory = directory;
    this.dataDirectory = join(directory, 'data');
    this.socketDirectory = join(directory, 's');
    this.port = options.tcpPort ?? 5432;
    const segsize = options.initdbArgs?.find((argument) => argument.startsWith('--wal-segsize='));
    this.walSegmentSize = Number(segsize?.split('=')[1] ?? DEFAULT_SEGMENT_MIB) * 1024 * 1024;
    this.#options = options;
    this.#removeDirectory = guardDirectory(directory);
  }

  /** Process id of the postmaster; `undefined` when it is not running. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Where and as whom to connect, for any `pg` client. */
  connectionConfig(database = 'postgres'): ClientConfig {
    return { host: this.socketDirectory, port: this.port, user: 'postgres', database };
  }

  /** A new connection; the caller ends it (stopping the server ends it, too). */
  async connect(database = 'postgres'): Promise<Client> {
    const client = new Client(this.connectionConfig(database));
    // A server that is stopped or killed under a test breaks its connections; the query that notices reports it.
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  /** Runs one statement (several, without parameters) on a kept connection and returns the rows. */
  async query<Row extends QueryResultRow = QueryResultRow>(
    sql: string,
    params?: readonly unknown[],
    options: { readonly database?: string } = {},
  ): Promise<Row[]> {
    const database = options.database ?? 'postgres';
    let client = this.#clients.get(database);
    if (!client) {
      client = this.connect(database);
      this.#clients.set(database, client);
      client.catch(() => this.#clients.delete(database));
    }
    const result = await (await client).query<Row>(sql, params ? [...params] : undefined);
    return Array.isArray(result) ? ((result.at(-1)?.rows ?? []) as Row[]) : result.rows;
  }

  /** Closes the kept connections, so that a database can be dropped or copied. */
  async disconnect(): Promise<void> {
    const clients = [...this.#clients.values()];
    this.#clients.clear();
    await Promise.allSettled(clients.map(async (client) => (await client).end()));
  }

  /** Path of the file that holds the WAL byte at `lsn` (of timeline 1), or of the named file. */
  walFile(at: number | bigint | string): string {
    return join(this.dataDirectory, 'pg_wal', typeof at === 'string' ? at : this.#walFileName(Number(at)));
  }

  #walFileName(lsn: number): string {
    const hex = (n: number): string => n.toString(16).toUpperCase().padStart(8, '0');
    const segment = Math.floor(lsn / this.walSegmentSize);
    const perId = 2 ** 32 / this.walSegmentSize;
    return hex(1) + hex(Math.floor(segment / perId)) + hex(segment % perId);
  }

  /** What the server wrote to its log so far. */
  async log(): Promise<string> {
    return readFile(join(this.directory, 'log'), 'utf8').catch(() => '');
  }

  /** Starts the stopped server again, on whatever its data directory holds now. */
  async start(settings: PostgresSettings = {}): Promise<void> {
    if (this.#process) throw new Error('this test server is already running');
    const all: PostgresSettings = { ...TEST_SETTINGS, ...this.#options.settings, ...settings };
    const args = Object.entries({
      unix_socket_directories: this.socketDirectory,
      listen_addresses: this.#options.tcpPort === undefined ? '' : '127.0.0.1',
      port: this.port,
      ...all,
    }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const log = openSync(join(this.directory, 'log'), 'a');
    try {
      this.#process = spawn(join(postgresBinDirectory(), 'postgres'), ['-D', this.dataDirectory, ...args], {
        ...serverUser,
        cwd: '/',
        stdio: ['ignore', log, log],
        env: { ...process.env, ...this.#options.env },
      });
    } finally {
      closeSync(log);
    }
    const child = this.#process;
    child.once('exit', () => (this.#process = this.#process === child ? undefined : this.#process));
    child.once('error', () => (this.#process = this.#process === child ? undefined : this.#process));
    await this.#untilReady(child);
  }

  async #untilReady(child: ChildProcess): Promise<void> {
    for (let waited = 0; waited < START_DEADLINE_MS; waited += 10) {
      if (this.#process !== child) break;
      const lines = await readFile(join(this.dataDirectory, 'postmaster.pid'), 'utf8').catch(() => '');
      const [pid, , , , , , , status] = lines.split('\n');
      if (Number(pid) === child.pid && status?.trim() === 'ready') return;
      await sleep(10);
    }
    await this.kill9();
    throw new Error(`PostgreSQL did not start; the end of its log:\n${(await this.log()).slice(-4000)}`);
  }

  /** Stops the server and keeps its directory. */
  async stop(mode: keyof typeof STOP_SIGNAL = 'fast'): Promise<void> {
    await this.disconnect();
    await this.#end(STOP_SIGNAL[mode]);
  }

  /** Kills the server and all its processes without notice, as a power cut would. */
  async kill9(): Promise<void> {
    const pid = this.#process?.pid;
    const children = pid === undefined ? [] : childrenOf(pid);
    await this.#end('SIGKILL');
    for (const child of children) {
      if (isAlive(child)) process.kill(child, 'SIGKILL');
      for (let waited = 0; isAlive(child) && waited < STOP_DEADLINE_MS; waited += 5) await sleep(5);
    }
    await this.disconnect();
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (!child) return;
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill(signal);
    const deadline = new AbortController();
    const late = sleep(STOP_DEADLINE_MS, 'late', { signal: deadline.signal }).catch(() => 'exited');
    if ((await Promise.race([exited, late])) === 'late') {
      child.kill('SIGKILL');
      await exited;
    }
    deadline.abort();
  }

  /** Ends the server and removes everything it wrote. */
  async dispose(): Promise<void> {
    await this.stop('immediate');
    await this.#removeDirectory();
  }
}

/** Starts a fresh server. End it with `dispose()`. */
export async function startPostgres(options: PostgresOptions = {}): Promise<TestPostgres> {
  const server = await preparePostgres(options);
  try {
    await server.start();
  } catch (error) {
    await server.dispose();
    throw error;
  }
  return server;
}

/** A cluster that is initialized and not started yet. */
export async function preparePostgres(options: PostgresOptions = {}): Promise<TestPostgres> {
  const directory = await mkdtemp(join(tmpdir(), 'cpg-'));
  const server = new TestPostgres(directory, options);
  try {
    await mkdir(server.socketDirectory);
    if (serverUser) {
      await chown(directory, serverUser.uid, serverUser.gid);
      await chown(server.socketDirectory, serverUser.uid, serverUser.gid);
    }
    await initializedCluster(server.dataDirectory, options.initdbArgs ?? []);
  } catch (error) {
    await server.dispose();
    throw error;
  }
  return server;
}
