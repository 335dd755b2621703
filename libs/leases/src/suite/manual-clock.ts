import type { Clock } from '@coppice/service-kit';

interface Sleeper {
  readonly atMs: number;
  wake(): void;
}

/** A clock that a test moves by hand. */
export class ManualClock implements Clock {
  #nowMs: number;
  readonly #sleepers = new Set<Sleeper>();

  constructor(nowMs = 1_700_000_000_000) {
    this.#nowMs = nowMs;
  }

  now(): number {
    return this.#nowMs;
  }

  monotonic(): number {
    return this.#nowMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const onAbort = (): void => {
        this.#sleepers.delete(sleeper);
        reject(signal?.reason as Error);
      };
      const sleeper: Sleeper = {
        atMs: this.#nowMs + ms,
        wake: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#sleepers.add(sleeper);
    });
  }

  /** Moves on, waking sleepers in the order of their times and letting each do what it does. */
  async advance(ms: number): Promise<void> {
    const until = this.#nowMs + ms;
    for (;;) {
      await settled();
      const [next] = [...this.#sleepers].filter(({ atMs }) => atMs <= until).sort((a, b) => a.atMs - b.atMs);
      if (!next) break;
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      this.#sleepers.delete(next);
      next.wake();
    }
    this.#nowMs = until;
  }

  /** Sets the wall clock back or forth without anybody noticing. */
  jump(ms: number): void {
    this.#nowMs += ms;
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
