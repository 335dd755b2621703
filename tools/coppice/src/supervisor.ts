/**
 * Starts processes, waits until each says `ready`, restarts those that die with a growing delay, and stops them in the
 * stated order.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceStatus } from './control-socket';

export interface ServiceSpec {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly log: string;
  /** Where it shows its metrics, when it has any. */
  readonly metrics?: string;
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
const LOOK_EVERY_MS = 20;

/** One process of a service, from its start to its end. */
interface Run {
  readonly child: ChildProcess;
  /** Resolves with why, also when the process could not be started at all. */
  readonly gone: Promise<string>;
  over: boolean;
}

export interface SupervisedOptions {
  readonly onChange: (service: Supervised, note: string) => void;
  /** An open file that every process of the service holds open, too: who waits for its lock waits for all of them. */
  readonly heldOpen?: number;
}

export class Supervised {
  readonly spec: ServiceSpec;
  readonly #options: SupervisedOptions;
  #run: Run | undefined;
  #state: ServiceStatus['state'] = 'starting';
  #restarts = 0;
  #delayMs = FIRST_RESTART_MS;
  #stopping = false;
  /** Called each time a process of this service becomes ready. */
  onReady: () => void = () => undefined;

  constructor(spec: ServiceSpec, options: SupervisedOptions) {
    this.spec = spec;
    this.#options = options;
  }

  get status(): ServiceStatus {
    return {
      name: this.spec.name,
      pid: this.#run?.child.pid ?? 0,
      log: this.spec.log,
      metrics: this.spec.metrics,
      state: this.#state,
      restarts: this.#restarts,
    };
  }

  /** Starts the process and resolves when it is ready for the first time; rejects if it ends before. */
  async start(timeoutMs: number): Promise<void> {
    if (this.#stopping) throw new Error(`${this.spec.name} is being stopped`);
    const { ready, gone } = this.#spawn();
    const late = sleep(timeoutMs, `is not ready after ${timeoutMs / 1000} s`, { ref: false });
    const trouble = await Promise.race([ready, gone, late]);
    if (trouble !== undefined) throw new Error(`${this.spec.name} ${trouble}; its log: ${this.spec.log}`);
  }

  /** Resolves when the process listens; it may not be ready yet. */
  async listening(): Promise<void> {
    const { listens } = this.spec;
    while (listens !== undefined && !this.#stopping && !(await accepts(listens))) await sleep(LOOK_EVERY_MS);
  }

  #spawn(): { readonly ready: Promise<undefined>; readonly gone: Promise<string> } {
    const run = this.#process();
    this.#run = run;
    this.#state = this.#restarts > 0 ? 'restarting' : 'starting';
    const startedAt = Date.now();
    void run.gone.then((why) => {
      if (this.#stopping) return;
      if (Date.now() - startedAt > STABLE_MS) this.#delayMs = FIRST_RESTART_MS;
      this.#state = 'restarting';
      this.#again(why);
    });
    return { ready: this.#ready(run), gone: run.gone };
  }

  /** A process in a session of its own: Ctrl-C at the terminal reaches the supervisor alone, which stops all in order. */
  #process(): Run {
    const { command, args, env, log, readiness } = this.spec;
    const { heldOpen } = this.#options;
    const output = openSync(log, 'a', 0o600);
    let child: ChildProcess;
    try {
      child = spawn(command, args, {
        env: { ...process.env, ...env },
        detached: true,
        stdio: [
          'ignore',
          output,
          output,
          readiness === 'ipc' ? 'ipc' : 'ignore',
          ...(heldOpen === undefined ? [] : [heldOpen]),
        ],
      });
    } finally {
      closeSync(output);
    }
    let over!: (why: string) => void;
    const gone = new Promise<string>((resolve) => (over = resolve));
    const run: Run = { child, gone, over: false };
    const end = (why: string): void => {
      run.over = true;
      over(why);
    };
    child.once('exit', (code, signal) => end(`ended (${signal ?? code})`));
    child.on('error', (error) => {
      if (child.pid === undefined) end(`cannot be started: ${error.message}`);
    });
    return run;
  }

  /** Starts the process again after a delay that grows while it does not stay up. */
  #again(why: string): void {
    const delay = this.#delayMs;
    this.#delayMs = Math.min(this.#delayMs * 2, LONGEST_RESTART_MS);
    this.#options.onChange(this, `${why}, starting again in ${delay} ms`);
    setTimeout(() => {
      if (this.#stopping) return;
      this.#restarts += 1;
      try {
        this.#spawn();
      } catch (error) {
        this.#again(`cannot be started: ${(error as Error).message}`);
      }
    }, delay).unref();
  }

  /** Resolves once the process is ready; never when it ends before. */
  async #ready(run: Run): Promise<undefined> {
    const { readiness } = this.spec;
    if (readiness === 'ipc') {
      await new Promise<void>((resolve) =>
        run.child.on('message', (message) => message === 'ready' && resolve()),
      );
    } else {
      while (run.over || !(await accepts(readiness.socket))) {
        if (run.over) return new Promise(() => undefined);
        await sleep(LOOK_EVERY_MS);
      }
    }
    if (this.#run === run && !run.over && this.#state !== 'ready') {
      this.#state = 'ready';
      this.#options.onChange(this, 'ready');
      this.onReady();
    }
    return undefined;
  }

  /** Asks the process to end, and kills it when it does not within its time. Nothing starts it again. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const run = this.#run;
    if (run && !run.over) {
      run.child.kill(this.spec.stopSignal);
      const late = Symbol('late');
      if ((await Promise.race([run.gone, sleep(STOP_MS, late, { ref: false })])) === late) {
        this.#options.onChange(this, `does not stop within ${STOP_MS / 1000} s, killed`);
        run.child.kill('SIGKILL');
        await run.gone;
      }
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
