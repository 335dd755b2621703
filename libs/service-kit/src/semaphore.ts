import { CoppiceError } from './errors';

/** At most `permits` holders at once and at most `maxWaiting` in line, first come first served. */
export class Semaphore {
  #free: number;
  readonly #maxWaiting: number;
  readonly #line: { grant: () => void }[] = [];

  constructor(permits: number, maxWaiting = 10_000) {
    this.#free = permits;
    this.#maxWaiting = maxWaiting;
  }

  /** Who comes now has to wait. */
  get isFull(): boolean {
    return this.#free === 0;
  }

  get waiting(): number {
    return this.#line.length;
  }

  /** Runs `work` while holding a permit. */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#acquire(signal);
    try {
      return await work();
    } finally {
      this.#release();
    }
  }

  async #acquire(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    if (this.#line.length >= this.#maxWaiting) {
      throw new CoppiceError('Unavailable', 'queue-full', `${this.#maxWaiting} requests wait already`, {
        remedy: 'Try again shortly.',
      });
    }
    await new Promise<void>((resolve, reject) => {
      const place = {
        grant: (): void => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      const onAbort = (): void => {
        const at = this.#line.indexOf(place);
        if (at >= 0) this.#line.splice(at, 1);
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#line.push(place);
    });
  }

  #release(): void {
    const next = this.#line.shift();
    if (next) next.grant();
    else this.#free += 1;
  }
}
