import type { Clock, Log, Part } from '@coppice/service-kit';
import { BackgroundLoop, Semaphore, systemClock } from '@coppice/service-kit';
import type { FlushDeps } from '../storage/flush';
import { flushTimeline } from '../storage/flush';
import type { Timeline } from '../storage/timeline';
import { pickFreezes } from './pick-freezes';

export interface FlusherOptions extends FlushDeps {
  readonly loaded: () => Iterable<Timeline>;
  readonly log: Log;
  /** An open layer is written after this time at the latest, milliseconds. */
  readonly flushAfterMs: number;
  /** Unwritten versions of all timelines together, bytes; the largest are written first beyond it. */
  readonly maxUnwrittenBytes: number;
  readonly onDurable: (timeline: Timeline) => void;
  readonly clock?: Clock;
}

const EVERY_MS = 500;
/** Timelines written at once. */
const CONCURRENT = 4;
const RETRY_MS = 1_000;

/** Writes frozen layers to object storage, and freezes those that are old or when memory is short. */
export class Flusher implements Part {
  readonly name = 'flusher';
  readonly #options: FlusherOptions;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  readonly #slots = new Semaphore(CONCURRENT, Number.MAX_SAFE_INTEGER);
  readonly #under = new Map<Timeline, Promise<void>>();
  readonly #loop: BackgroundLoop;
  #isStopping = false;

  constructor(options: FlusherOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#loop = new BackgroundLoop({ name: 'flush', everyMs: EVERY_MS, log: options.log, clock: this.#clock, run: async () => this.#freeze() });
  }

  async start(): Promise<void> {
    this.#loop.start();
  }

  /** Writes what is in memory, as far as that goes in the time that the service has, then stops. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#loop.stop();
    for (const timeline of this.#options.loaded()) {
      timeline.freeze();
      this.write(timeline);
    }
    await Promise.allSettled(this.#under.values());
    this.#stop.abort();
  }

  /** Writes the timeline's frozen layers soon; tries until it works. */
  write(timeline: Timeline): void {
    if (this.#under.has(timeline) || timeline.frozen.length === 0) return;
    const work = this.#slots.run(() => this.#write(timeline)).finally(() => this.#under.delete(timeline));
    this.#under.set(timeline, work);
  }

  async #write(timeline: Timeline): Promise<void> {
    const { signal } = this.#stop;
    const { log, onDurable } = this.#options;
    while (timeline.frozen.length > 0 && !signal.aborted && !timeline.deletion) {
      try {
        await flushTimeline(timeline, this.#options, signal);
        onDurable(timeline);
      } catch (error) {
        if (signal.aborted || timeline.deletion) return;
        log.warn({ err: error, timeline: timeline.id }, 'flush fails, tries again');
        if (this.#isStopping) return;
        await this.#clock.sleep(RETRY_MS, signal).catch(() => undefined);
      }
    }
  }

  #freeze(): void {
    const now = this.#clock.monotonic();
    const { loaded, flushAfterMs, maxUnwrittenBytes } = this.#options;
    for (const timeline of pickFreezes([...loaded()], { now, flushAfterMs, maxUnwrittenBytes })) timeline.freeze();
    for (const timeline of loaded()) this.write(timeline);
  }
}
