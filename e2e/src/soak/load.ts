/** A fixed load: each kind of work again and again at its own pace, one at a time, timed, until it is told to stop. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sample } from '@coppice/testing';

/** One piece of work, of any kind, takes less than this, milliseconds. */
const DEADLINE_MS = 60_000;

export interface Work {
  readonly kind: string;
  /** From the begin of one piece to that of the next, milliseconds; one that takes longer delays those after it. */
  readonly everyMs: number;
  /** Gives how long that took whose time counts, milliseconds; else the whole counts. */
  readonly run: (round: number) => Promise<number | void>;
}

export class Load {
  /** How long pieces took, milliseconds, by their kind. */
  readonly times = new Map<string, Sample[]>();
  /** What failed, said in one line each. */
  readonly errors: string[] = [];
  readonly #from = performance.now();
  readonly #stop = new AbortController();
  readonly #loops: Promise<void>[];

  constructor(works: readonly Work[]) {
    this.#loops = works.map((work) => this.#repeat(work));
  }

  /** Seconds since the load began. */
  get seconds(): number {
    return (performance.now() - this.#from) / 1000;
  }

  /** Ends after the pieces under way. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#loops);
  }

  async #repeat({ kind, everyMs, run }: Work): Promise<void> {
    const times: Sample[] = [];
    this.times.set(kind, times);
    for (let round = 0; !this.#stop.signal.aborted; round += 1) {
      const at = this.seconds;
      const from = performance.now();
      try {
        const took = await inTime(run(round));
        times.push({ at, value: took ?? performance.now() - from });
      } catch (error) {
        this.errors.push(`${kind}, ${at.toFixed(1)} s: ${(error as Error).message}`);
      }
      await this.#pause(everyMs - (performance.now() - from));
    }
  }

  async #pause(ms: number): Promise<void> {
    if (ms > 0) await sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  const over = new AbortController();
  const late = sleep(DEADLINE_MS, undefined, { signal: over.signal, ref: false }).then(() =>
    Promise.reject(new Error(`not done after ${DEADLINE_MS} ms`)),
  );
  try {
    return await Promise.race([work, late]);
  } finally {
    over.abort();
    late.catch(() => undefined);
  }
}
