import type { Clock } from './clock';
import { systemClock } from './clock';
import { asCoppiceError } from './errors';
import type { Log } from './log';

/** A restart takes less, milliseconds. */
const EXPECTED_ABSENCE_MS = 30_000;

export interface BackgroundLoopOptions {
  readonly name: string;
  readonly everyMs: number;
  readonly log: Log;
  /**
   * One round. A throw is logged and the next round comes after `everyMs`. A part that does not answer is expected for a while, as
   * when everything starts at once: it is worth a warning when that lasts.
   */
  readonly run: (signal: AbortSignal) => Promise<void>;
  readonly clock?: Clock;
}

/** Repeats `run` until stopped; rounds never overlap; `nudge` starts the next one early. */
export class BackgroundLoop {
  readonly #options: BackgroundLoopOptions;
  readonly #stop = new AbortController();
  #wake = new AbortController();
  #done: Promise<void> | undefined;

  constructor(options: BackgroundLoopOptions) {
    this.#options = options;
  }

  start(): void {
    this.#done ??= this.#loop();
  }

  nudge(): void {
    this.#wake.abort();
  }

  /** Ends after the round under way, which sees its signal fire. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake.abort();
    await this.#done;
  }

  async #loop(): Promise<void> {
    const { run, log, name, everyMs, clock = systemClock } = this.#options;
    let absentSince: number | undefined;
    while (!this.#stop.signal.aborted) {
      this.#wake = new AbortController();
      try {
        await run(this.#stop.signal);
        absentSince = undefined;
      } catch (error) {
        const { kind } = asCoppiceError(error);
        absentSince = kind === 'Unavailable' ? (absentSince ?? clock.monotonic()) : undefined;
        const isExpected = absentSince !== undefined && clock.monotonic() - absentSince < EXPECTED_ABSENCE_MS;
        if (!this.#stop.signal.aborted)
          log[isExpected ? 'debug' : 'warn']({ err: error, loop: name }, 'background round fails, goes on');
      }
      if (this.#stop.signal.aborted) return;
      await clock.sleep(everyMs, this.#wake.signal).catch(() => undefined);
    }
  }
}
