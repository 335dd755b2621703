/**
 * Starts processes, waits until each says `ready`, restarts those that die with a growing delay, and stops them in the
 * stated order.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceStatus } from './control-socket';

export interface ServiceSpec {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly log: string;
  readonly uid?: number;
  readonly gid?: number;
  /** `ipc`: the process sends `ready`; else the path of a socket that must accept. */
  readonly readiness: 'ipc' | { readonly socket: string };
  /** Services of a larger number start once those of smaller ones listen. */
  readonly startOrder: number;
  /** The socket that shows that it listens, before it may be ready. */
  readonly listens?: string;
  readonly stopSignal: NodeJS.Signals;
  /** Services of a larger number stop later. */
  readonly stopOrder: number;
}

const FIRST_RESTART_MS = 100;
const LONGEST_RESTART_MS = 5_000;
const STABLE_MS = 10_000;
const STOP_MS = 40_000;

export class Supervised {
  readonly spec: ServiceSpec;
  #child: ChildProcess | undefined;
  #state: ServiceStatus['state'] = 'starting';
  #restarts = 0;
  #delayMs = FIRST_RESTART_MS;
  #stopping = false;
  /** Called each time a process of this service becomes ready. */
  onReady: () => void = () => undefined;
  readonly #onChange: (service: Supervised, note: string) => void;

  constructor(spec: ServiceSpec, onChange: (service: Supervised, note: string) => void) {
    this.spec = spec;
    this.#onChange = onChange;
  }

  get status(): ServiceStatus {
    return {
      name: this.spec.name,
      pid: this.#child?.pid ?? 0,
      log: this.spec.log,
      state: this.#state,
      restarts: this.#restarts,
    };
  }

  /** Starts the process and resolves when it is ready for the first time; rejects if it dies before. */
  async start(timeoutMs: number): Promise<void> {
    const child = this.#spawn();
    await Promise.race([
      this.#ready(child),
      new Promise<never>((_resolve, reject) =>
        child.once('exit', (code, signal) =>
          reject(new Error(`${this.spec.name} ended (${signal ?? code}); its log: ${this.spec.log}`)),
        ),
      ),
      sleep(timeoutMs, undefined, { ref: false }).then(() =>
        Promise.reject(
          new Error(`${this.spec.name} is not ready after ${timeoutMs / 1000} s; its log: ${this.spec.log}`),
        ),
      ),
    ]);
  }

  /** Resolves when the process listens; it may not be ready yet. */
  async listening(): Promise<void> {
    const { listens } = this.spec;
    while (listens !== undefined && !(await accepts(listens))) await sleep(20);
  }

  #spawn(): ChildProcess {
    const { command, args, env, log, uid, gid, readiness } = this.spec;
    const output = openSync(log, 'a', 0o600);
    const child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: readiness === 'ipc' ? ['ignore', output, output, 'ipc'] : ['ignore', output, output],
      ...(uid === undefined ? {} : { uid, gid }),
    });
    this.#child = child;
    this.#state = this.#restarts > 0 ? 'restarting' : 'starting';
    const startedAt = Date.now();
    child.on('error', (error) => this.#onChange(this, `cannot be started: ${error.message}`));
    child.on('exit', (code, signal) => {
      this.#state = 'stopped';
      if (this.#stopping) return;
      if (Date.now() - startedAt > STABLE_MS) this.#delayMs = FIRST_RESTART_MS;
      this.#onChange(this, `ended (${signal ?? code}), starting again in ${this.#delayMs} ms`);
      this.#state = 'restarting';
      const delay = this.#delayMs;
      this.#delayMs = Math.min(this.#delayMs * 2, LONGEST_RESTART_MS);
      setTimeout(() => this.#again(), delay).unref();
    });
    void this.#ready(child);
    return child;
  }

  #again(): void {
    if (this.#stopping) return;
    this.#restarts += 1;
    this.#spawn();
  }

  async #ready(child: ChildProcess): Promise<void> {
    const { readiness } = this.spec;
    if (readiness === 'ipc') {
      await new Promise<void>((resolve) =>
        child.on('message', (message) => message === 'ready' && resolve()),
      );
    } else {
      while (child.exitCode === null && child.signalCode === null && !(await accepts(readiness.socket)))
        await sleep(20);
      if (child.exitCode !== null || child.signalCode !== null) return;
    }
    if (this.#child === child && this.#state !== 'ready') {
      this.#state = 'ready';
      this.#onChange(this, 'ready');
      this.onReady();
    }
  }

  /** Asks the process to end, and kills it when it does not within its time. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill(this.spec.stopSignal);
    const late = Symbol('late');
    if ((await Promise.race([ended, sleep(STOP_MS, late, { ref: false })])) === late) {
      this.#onChange(this, `does not stop within ${STOP_MS / 1000} s, killed`);
      child.kill('SIGKILL');
      await ended;
    }
    this.#state = 'stopped';
  }
}

function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => resolve((socket.destroy(), true)));
    socket.once('error', () => resolve(false));
  });
}

/** Starts all in their order and resolves when all are ready; rejects with the first that fails. */
export async function startInOrder(services: readonly Supervised[], timeoutMs: number): Promise<void> {
  const orders = [...new Set(services.map((s) => s.spec.startOrder))].sort((a, b) => a - b);
  const started: Promise<void>[] = [];
  for (const order of orders) {
    const group = services.filter((s) => s.spec.startOrder === order);
    for (const s of group) started.push(s.start(timeoutMs));
    await Promise.race([
      Promise.all(group.map((s) => s.listening())),
      Promise.all(started).then(() => undefined),
    ]);
  }
  await Promise.all(started);
}

/** Stops groups of services one after the other, the members of a group together. */
export async function stopInOrder(services: readonly Supervised[]): Promise<void> {
  const orders = [...new Set(services.map((s) => s.spec.stopOrder))].sort((a, b) => a - b);
  for (const order of orders)
    await Promise.all(services.filter((s) => s.spec.stopOrder === order).map((s) => s.stop()));
}
