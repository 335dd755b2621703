import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, openSync, closeSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { safekeeperContract, type Client } from '@coppice/contracts';
import { testIdentities } from '@coppice/testing';
import type { NodeId } from '@coppice/vocabulary';

const ROOT = resolve(__dirname, '../../../..');

/** Bundles the safekeeper as it is shipped; call once before starting processes. */
export function bundleSafekeeper(): void {
  execFileSync(process.execPath, ['tools/build/bundle.mjs', 'safekeeper', 'apps/safekeeper'], { cwd: ROOT });
}

/** A real safekeeper process on a Unix socket, with a directory that outlives it. */
export class SafekeeperProcess {
  readonly node: NodeId;
  readonly data: string;
  readonly address: string;
  readonly client: Client<(typeof safekeeperContract)['methods']>;
  readonly #logPath: string;
  #process: ChildProcess | undefined;

  constructor(directory: string, node: string, data = join(directory, node)) {
    this.node = node as NodeId;
    this.data = data;
    this.address = `unix:${join(directory, `${node}.s`)}`;
    this.#logPath = join(directory, `${node}.log`);
    mkdirSync(this.data, { recursive: true });
    this.client = testIdentities.everyone(safekeeperContract, this.address);
  }

  async start(env: Readonly<Record<string, string>> = {}): Promise<void> {
    const log = openSync(this.#logPath, 'a');
    const child = spawn(process.execPath, [join(ROOT, 'dist/safekeeper/main.js')], {
      stdio: ['ignore', log, log, 'ipc'],
      env: {
        ...process.env,
        ...testIdentities.env('safekeeper'),
        COPPICE_METRICS_PORT: '0',
        COPPICE_SAFEKEEPER_ID: this.node,
        COPPICE_SAFEKEEPER_ADDRESS: this.address,
        COPPICE_SAFEKEEPER_DATA: this.data,
        ...env,
      },
    });
    closeSync(log);
    this.#process = child;
    await new Promise<void>((resolve, reject) => {
      child.once('message', () => resolve());
      child.once('exit', (code) =>
        reject(new Error(`${this.node} ended with ${code}:\n${this.log.slice(-2000)}`)),
      );
    });
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  get running(): boolean {
    return (
      this.#process !== undefined && this.#process.exitCode === null && this.#process.signalCode === null
    );
  }

  /** What it wrote to its log so far. */
  get log(): string {
    return readFileSync(this.#logPath, 'utf8');
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#process;
    if (!child || !this.running) return;
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill(signal);
    await ended;
  }

  kill9(): Promise<void> {
    return this.stop('SIGKILL');
  }

  /** Stops the process in its tracks, or lets it go on. */
  freeze(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#process?.kill(signal);
  }

  async dispose(): Promise<void> {
    await this.kill9();
    this.client.close();
  }
}
