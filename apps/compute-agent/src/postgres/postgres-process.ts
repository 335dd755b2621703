/**
 * One running PostgreSQL. It starts in a session of its own, so a terminal's signals go to the agent only, and logs to a
 * pipe of which the agent keeps the newest part.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, CoppiceError, type Log } from '@coppice/service-kit';
import type { ServerUser } from '../prepare/write-layout';
import { type Launch, launchChild, type LaunchedServer } from './launch';
import { RecentLog } from './recent-log';

const READY_POLL_MS = 2;
/** Line of `postmaster.pid` that holds the state (LOCK_FILE_LINE_PM_STATUS, src/include/utils/pidfile.h). */
const STATUS_LINE = 7;

export interface PostgresOptions {
  /** Path of the `postgres` executable. */
  readonly executable: string;
  readonly dataDirectory: string;
  readonly user: ServerUser | undefined;
  /** Added to a minimal environment. */
  readonly env: Readonly<Record<string, string>>;
  /** How it is started; without it, as a child of this process. */
  readonly launch?: Launch;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * `smart` takes no more sessions and goes like `fast` once the last has ended; `fast` ends sessions with SQLSTATE 57P01 and writes a
 * shutdown checkpoint; `immediate` ends at once without one.
 */
export type StopMode = 'smart' | 'fast' | 'immediate';
const STOP_SIGNALS = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const;

export class PostgresProcess {
  readonly #options: PostgresOptions;
  readonly #server: LaunchedServer;
  readonly #output = new RecentLog();
  #running = true;
  /** Resolves when the postmaster is gone, with how it went: `exit 0`, `signal SIGQUIT`. */
  readonly exited: Promise<string>;

  private constructor(options: PostgresOptions, server: LaunchedServer) {
    this.#options = options;
    this.#server = server;
    server.onOutput((chunk) => {
      this.#output.push(chunk);
      options.log.trace({ pid: server.pid, text: chunk.toString() }, 'postgres says');
    });
    this.exited = server.exited.then((how) => {
      this.#running = false;
      return how;
    });
  }

  static async start(options: PostgresOptions): Promise<PostgresProcess> {
    const { executable, dataDirectory, user, env, launch = launchChild } = options;
    const server = await launch({
      command: [executable, '-D', dataDirectory],
      env: { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8', LC_ALL: 'C.UTF-8', TZ: 'UTC', ...env },
      user,
    });
    return new PostgresProcess(options, server);
  }

  get pid(): number | undefined {
    return this.#server.pid;
  }

  get log(): RecentLog {
    return this.#output;
  }

  /**
   * Resolves once it accepts connections. Rejects with its last complaint when it ends instead, and when the preloaded
   * library is not in it: the loader goes on without a library that it cannot read, and holes would be read as zeros.
   */
  async ready(signal: AbortSignal): Promise<void> {
    while (!this.#statusIsReady()) {
      if (!this.#running) throw await this.whyGone();
      await this.#options.clock.sleep(READY_POLL_MS, signal);
    }
    const library = this.#options.env['LD_PRELOAD'];
    if (library && !readFileSync(`/proc/${this.pid}/maps`, 'latin1').includes(library)) {
      this.kill();
      throw new CoppiceError('Internal', 'interposer-not-loaded', `postgres runs without ${library}: ${this.#output.tail(3)}`, { remedy: 'See that the user of the compute can read it.' });
    }
  }

  stop(mode: StopMode): void {
    if (this.#running) this.#server.kill(STOP_SIGNALS[mode]);
  }

  /** Makes it read its configuration files again. */
  reload(): void {
    if (this.#running) this.#server.kill('SIGHUP');
  }

  kill(): void {
    if (this.#running) this.#server.kill('SIGKILL');
  }

  /** An error that tells how it ended and its last complaint. */
  async whyGone(): Promise<CoppiceError> {
    const how = await this.exited;
    return new CoppiceError('Unavailable', 'postgres-ended', `postgres ended (${how}): ${this.#output.lastComplaint()}`);
  }

  #statusIsReady(): boolean {
    try {
      const lines = readFileSync(join(this.#options.dataDirectory, 'postmaster.pid'), 'latin1').split('\n');
      return lines[STATUS_LINE]?.trim() === 'ready';
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    }
  }
}
