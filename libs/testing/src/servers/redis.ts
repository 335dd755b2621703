/**
 * A real Redis for tests, from the Debian package `redis-server`, in a directory of its own that is removed with it (also
 * when the test process dies). It listens on a port of 127.0.0.1, keeps it over restarts, and writes nothing to disk unless
 * told to; about 20 ms to start.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, readFile } from 'node:fs/promises';
import { type AddressInfo, createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { guardDirectory } from './guardian';

const START_DEADLINE_MS = 10_000;
/** Where distributions put it. */
const PROGRAM = ['/usr/bin/redis-server', '/usr/local/bin/redis-server'].find((path) => existsSync(path));

export interface RedisServerOptions {
  /** Write every change to disk, so that a restart comes back with the data. */
  readonly persistent?: boolean;
}

/** Why there can be no Redis here; undefined when there can. */
export function redisUnavailable(): string | undefined {
  return PROGRAM === undefined ? 'redis-server not installed (Debian package redis-server)' : undefined;
}

export class TestRedis {
  readonly port: number;
  readonly #directory: string;
  readonly #options: RedisServerOptions;
  readonly #removeDirectory: () => Promise<void>;
  #process: ChildProcess | undefined;

  constructor(directory: string, port: number, options: RedisServerOptions) {
    this.port = port;
    this.#directory = directory;
    this.#options = options;
    this.#removeDirectory = guardDirectory(directory);
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Process id of the server; `undefined` when it is not running. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Starts the server: empty, unless it is persistent. */
  async start(): Promise<void> {
    if (this.#process) throw new Error('this test server is already running');
    const data = join(this.#directory, 'data');
    const settings = {
      bind: '127.0.0.1',
      port: this.port,
      dir: data,
      // The name by which the guard of the directory finds the server.
      pidfile: join(data, 'postmaster.pid'),
      save: '',
      appendonly: this.#options.persistent ? 'yes' : 'no',
      appendfsync: 'always',
      'maxmemory-policy': 'noeviction',
      'repl-diskless-sync-delay': 0,
    };
    const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const log = openSync(join(this.#directory, 'log'), 'a');
    const child = spawn(PROGRAM ?? 'redis-server', args, { cwd: data, stdio: ['ignore', log, log] });
    closeSync(log);
    const ended = (): void => void (this.#process = this.#process === child ? undefined : this.#process);
    child.once('exit', ended);
    child.once('error', ended);
    this.#process = child;
    await this.#untilReady(child);
  }

  async #untilReady(child: ChildProcess): Promise<void> {
    for (
      const deadline = performance.now() + START_DEADLINE_MS;
      performance.now() < deadline;
      await sleep(5)
    ) {
      if (this.#process !== child) break;
      if (await answersPing(this.port)) return;
    }
    await this.kill9();
    const log = await readFile(join(this.#directory, 'log'), 'utf8').catch(() => '');
    throw new Error(`Redis did not start; the end of its log:\n${log.slice(-2000)}`);
  }

  /** Kills the server without notice; what is not on disk is lost. */
  async kill9(): Promise<void> {
    const child = this.#process;
    if (!child) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await exited;
  }

  /** Kills the server and starts it again. */
  async restart(): Promise<void> {
    await this.kill9();
    await this.start();
  }

  /** Makes the server hang: it keeps its connections and answers nothing. */
  pause(): void {
    this.#process?.kill('SIGSTOP');
  }

  resume(): void {
    this.#process?.kill('SIGCONT');
  }

  /** Ends the server and removes everything it wrote. */
  async dispose(): Promise<void> {
    await this.kill9();
    await this.#removeDirectory();
  }
}

/** Starts a fresh server. End it with `dispose()`. */
export async function startRedis(options: RedisServerOptions = {}): Promise<TestRedis> {
  const directory = await mkdtemp(join(tmpdir(), 'crd-'));
  await mkdir(join(directory, 'data'));
  const server = new TestRedis(directory, await freePort(), options);
  try {
    await server.start();
  } catch (error) {
    await server.dispose();
    throw error;
  }
  return server;
}

/** Also waits for a server that reads its files. */
function answersPing(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port }, () => socket.write('PING\r\n'));
    socket.setTimeout(1_000, () => socket.destroy());
    socket.once('data', (data) => {
      resolve(data.toString().startsWith('+PONG'));
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
