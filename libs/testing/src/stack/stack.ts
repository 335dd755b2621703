/** A real stack for a test: `./coppice up` as a user runs it, its API, its Postgres address, and the means to kill parts. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { expectNoDifferences } from './checked';

const run = promisify(execFile);

/** The workspace: the nearest directory above this file that holds `nx.json`. */
export function workspaceRoot(): string {
  for (let at = __dirname; at !== '/'; at = dirname(at)) if (existsSync(join(at, 'nx.json'))) return at;
  throw new Error('the workspace root was not found');
}
const ROOT = workspaceRoot();

/** Names of the safekeepers and of their sockets. */
export const SAFEKEEPER_NAMES = ['sk1', 'sk2', 'sk3'] as const;

interface StackFile {
  readonly api: string;
  readonly grpc: string;
  readonly apiKey: string;
  /** What the metrics of services ask for. */
  readonly metricsToken: string;
  readonly postgres: { readonly host: string; readonly port: number };
  /** For SQL over HTTP and WebSocket. */
  readonly http: { readonly host: string; readonly port: number };
  readonly runDirectory: string;
  readonly services: readonly {
    readonly name: string;
    readonly pid: number;
    readonly log: string;
    /** Where it shows its metrics; PostgreSQL shows none. */
    readonly metrics?: string;
  }[];
}

export interface Answer<T> {
  readonly status: number;
  readonly body: T;
}

/** JSON as the API answers it; tests say what they expect. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Json = any;

/** Offsets of the ports that a stack listens on. */
const OFFSETS = [0, 1, 32, 33, 40, 41, 42, 43, 44, 45, 46, 47, 48];

/** A port N such that all of a stack's are free now. */
async function freePortBase(): Promise<number> {
  const listen = (port: number): Promise<ReturnType<typeof createServer>> =>
    new Promise((ok, no) => {
      const s = createServer().once('error', no);
      s.listen(port, '127.0.0.1', () => ok(s));
    });
  for (;;) {
    const { port } = await listen(0).then(async (probe) => {
      const address = probe.address() as AddressInfo;
      await new Promise((r) => probe.close(r));
      return address;
    });
    if (port >= 64_000) continue;
    const held = await Promise.allSettled(OFFSETS.map((offset) => listen(port + offset)));
    const free = held.flatMap((h) => (h.status === 'fulfilled' ? [h.value] : []));
    await Promise.all(free.map((server) => new Promise((r) => server.close(r))));
    if (free.length === OFFSETS.length) return port;
  }
}

export class Stack {
  readonly dataDirectory: string;
  readonly portBase: number;
  #env: NodeJS.ProcessEnv = process.env;
  /** Bytes of each log that were there before. */
  readonly #logged = new Map<string, number>();
  #brokenBecause: string | undefined;

  private constructor(dataDirectory: string, portBase: number) {
    this.dataDirectory = dataDirectory;
    this.portBase = portBase;
  }

  /** Starts a stack in a directory of its own. */
  static async start(env: Readonly<Record<string, string>> = {}): Promise<Stack> {
    const stack = new Stack(mkdtempSync(join(tmpdir(), 'coppice-e2e-')), await freePortBase());
    stack.#env = { ...process.env, ...env };
    await stack.up();
    return stack;
  }

  /** The stack that runs in this directory. */
  static at(dataDirectory: string, portBase: number): Stack {
    const stack = new Stack(dataDirectory, portBase);
    for (const { log } of stack.file.services) stack.#logged.set(log, statSync(log).size);
    return stack;
  }

  /** Starts one in this directory, which is there. */
  static async startIn(dataDirectory: string): Promise<Stack> {
    const stack = new Stack(dataDirectory, await freePortBase());
    await stack.up();
    return stack;
  }

  /** What the stack's services were started with on top of this process's environment. */
  get env(): NodeJS.ProcessEnv {
    return this.#env;
  }

  coppice(...args: string[]): Promise<{ stdout: string; stderr: string }> {
    return run(join(ROOT, 'coppice'), args, { cwd: ROOT, env: this.#env, timeout: 240_000 });
  }

  async up(): Promise<void> {
    await this.coppice(
      'up',
      '--data-dir',
      this.dataDirectory,
      '--port-base',
      String(this.portBase),
      '--detach',
    );
  }

  /** Stops everything, after its services were found to agree. */
  async down(): Promise<void> {
    try {
      if (this.#brokenBecause === undefined && existsSync(join(this.dataDirectory, 'stack.json')))
        await expectNoDifferences(this);
    } finally {
      await this.coppice('down', '--data-dir', this.dataDirectory);
    }
  }

  /** The test leaves something broken by design, so that services need not agree in the end. */
  leftBroken(because: string): void {
    this.#brokenBecause = because;
  }

  /** Stops everything, as `down`, and removes the data, with what was of use while it ran. */
  async remove(): Promise<void> {
    const isThere = existsSync(join(this.dataDirectory, 'stack.json'));
    const runDirectory = isThere ? this.file.runDirectory : undefined;
    try {
      await this.down().catch((error: Error) => {
        if (!error.message.includes('no stack runs')) throw error;
      });
    } finally {
      for (const directory of [this.dataDirectory, runDirectory])
        if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
    }
  }

  get file(): StackFile {
    return JSON.parse(readFileSync(join(this.dataDirectory, 'stack.json'), 'utf8')) as StackFile;
  }

  /** Kills a service's process with `kill -9`; its supervisor starts it again. */
  kill9(service: string): void {
    const found = this.file.services.find((s) => s.name === service);
    if (!found) throw new Error(`no service ${service} in stack.json`);
    process.kill(found.pid, 'SIGKILL');
  }

  /** Pids of Postgres servers of computes (their parent is the launcher, whose parent is the compute agent). */
  computePids(): number[] {
    const agent = this.file.services.find((s) => s.name === 'compute-agent')!.pid;
    const launchers = childrenOf([agent], 'launcher');
    return childrenOf(launchers, 'postgres');
  }

  async request<T = Json>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<T>> {
    const { api, apiKey } = this.file;
    const response = await fetch(api + path, {
      method,
      headers: {
        authorization: `Bearer ${apiKey}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      signal: AbortSignal.timeout(70_000),
    });
    const text = await response.text();
    return { status: response.status, body: (text === '' ? undefined : JSON.parse(text)) as T };
  }

  /** A request that must succeed. */
  async ask<T = Json>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.request<T>(method, path, body);
    if (answer.status >= 300)
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /** All that a service counts, as Prometheus text. */
  async metrics(service: string): Promise<string> {
    const { services, metricsToken } = this.file;
    const { metrics } = services.find((s) => s.name === service)!;
    const answer = await fetch(metrics!, {
      headers: { authorization: `Bearer ${metricsToken}` },
      signal: AbortSignal.timeout(10_000),
    });
    return answer.text();
  }

  /** What a service shows under this name with these labels, such as `coppice_x_total{kind="y"}`; 0 when it shows none. */
  async metric(service: string, series: string): Promise<number> {
    const shown = await this.metrics(service);
    const line = shown.split('\n').find((l) => l.startsWith(`${series} `));
    return line === undefined ? 0 : Number(line.slice(series.length));
  }

  /** Log lines at WARN or above of all services since the stack was first started, or was taken over from other tests. */
  troubledLines(): string[] {
    return this.file.services.flatMap(({ name, log }) =>
      readFileSync(log)
        .subarray(this.#logged.get(log) ?? 0)
        .toString('utf8')
        .split('\n')
        .filter((line) => /"level":"(warn|error|fatal)"/.test(line) || /\b(FATAL|PANIC):/.test(line))
        .map((line) => `${name}: ${line}`),
    );
  }
}

function childrenOf(parents: readonly number[], command: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
        return stat.includes(`(${command})`) && parents.includes(parent);
      } catch {
        return false;
      }
    });
}

/** Runs `work` with a connection that is closed afterwards. */
export async function withClient<T>(uri: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: uri, connectionTimeoutMillis: 65_000 });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Runs statements in order over one connection; gives the rows of the last. */
export function sql(uri: string, ...statements: string[]): Promise<Record<string, Json>[]> {
  return withClient(uri, async (client) => {
    let rows: Record<string, Json>[] = [];
    for (const statement of statements) {
      const result = await client.query(statement);
      rows = (Array.isArray(result) ? result[result.length - 1] : result).rows;
    }
    return rows;
  });
}

/** Tries until it succeeds or `ms` have passed; then fails with the last error. */
export async function eventually<T>(ms: number, work: () => Promise<T>): Promise<T> {
  const end = Date.now() + ms;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (Date.now() > end) throw error;
      await sleep(100);
    }
  }
}

export interface BranchHandle {
  readonly id: string;
  readonly endpoint: string;
  readonly uri: string;
}

/** Creates a branch with an endpoint; `from` is the body's `branch`. */
export async function fork(
  stack: Stack,
  project: string,
  from: Record<string, unknown> = {},
): Promise<BranchHandle & { readonly parentLsn: string }> {
  const made = await stack.ask('POST', `/projects/${project}/branches`, {
    branch: from,
    endpoints: [{ type: 'read_write' }],
  });
  return {
    id: made.branch.id,
    endpoint: made.endpoints[0].id,
    uri: made.connection_uris[0].connection_uri,
    parentLsn: made.branch.parent_lsn,
  };
}
