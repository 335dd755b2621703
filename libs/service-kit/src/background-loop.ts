import type { Clock } from './clock';
import { systemClock } from './clock';
import type { Log } from './log';

export interface BackgroundLoopOptions {
  readonly name: string;
  readonly everyMs: number;
  readonly log: Log;
  /** One round. A throw is logged once and the next round comes after `everyMs`. */
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
    while (!this.#stop.signal.aborted) {
      this.#wake = new AbortController();
      try {
        await run(this.#stop.signal);
      } catch (error) {
        if (!this.#stop.signal.aborted)
          log.warn({ err: error, loop: name }, 'background round fails, goes on');
      }
      if (this.#stop.signal.aborted) return;
      await clock.sleep(everyMs, this.#wake.signal).catch(() => undefined);
    }
  }
}
