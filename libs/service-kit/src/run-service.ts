/**
 * The life of a process: start the parts in order, say ready, wait for a signal or for a part to die, stop in reverse
 * within a deadline.
 */
import type { Log } from './log';

/** Something that a service starts and stops. `failed` rejects or resolves when the part dies on its own. */
export interface Part {
  readonly name: string;
  start(): Promise<void>;
  stop(): Promise<void>;
  readonly failed?: Promise<unknown>;
}

export interface RunServiceOptions {
  readonly log: Log;
  readonly parts: readonly Part[];
  /** Time for stopping all parts before the process exits non-zero, milliseconds. */
  readonly drainMs?: number;
}

/** Makes a part of two functions. */
export function part(
  name: string,
  start: () => Promise<void> | void,
  stop: () => Promise<void> | void,
): Part {
  return { name, start: async () => start(), stop: async () => stop() };
}

/** Starts the parts in order and says ready. A part counts as started from when it is asked to, so that it is stopped too. */
async function startAll(
  parts: readonly Part[],
  started: Part[],
  log: Log,
  over: () => boolean,
): Promise<undefined> {
  for (const p of parts) {
    if (over()) return;
    started.push(p);
    await p.start();
  }
  log.info('ready');
  process.send?.('ready');
}

/** Runs until SIGTERM/SIGINT or until a part dies; then stops everything and ends the process. */
export async function runService({ log, parts, drainMs = 30_000 }: RunServiceOptions): Promise<never> {
  const started: Part[] = [];
  let code = 0;
  let over = false;
  const ending = new Promise<string>((resolve) => {
    // A supervisor that is gone must not leave its services behind.
    process.once('disconnect', () => resolve('supervisor gone'));
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
    for (const p of parts) {
      void p.failed?.then(
        (why) => {
          code = 1;
          log.error({ part: p.name, why }, 'part dies');
          resolve(`${p.name} died`);
        },
        (error: unknown) => {
          code = 1;
          log.error({ part: p.name, err: error }, 'part dies');
          resolve(`${p.name} died`);
        },
      );
    }
  });
  process.on('unhandledRejection', (error) => {
    log.fatal({ err: error }, 'unhandled rejection');
    process.exit(70);
  });
  try {
    const why = await Promise.race([startAll(parts, started, log, () => over), ending]);
    over = true;
    log.info({ why: why ?? (await ending) }, 'stopping');
  } catch (error) {
    over = true;
    code = 1;
    log.error({ err: error }, 'start fails');
  }
  const overdue = setTimeout(() => {
    log.error({ drainMs }, 'stop takes too long, exiting');
    process.exit(1);
  }, drainMs);
  overdue.unref();
  for (const p of started.reverse()) {
    try {
      await p.stop();
    } catch (error) {
      code = 1;
      log.error({ part: p.name, err: error }, 'stop of a part fails');
    }
  }
  log.info('stopped');
  process.exit(code);
}
