import { CoppiceError } from './errors';

interface Waiter<T> {
  readonly target: T;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  readonly cancelWatch: () => void;
}

/** A value that only grows, and waits for it to reach a target. Waits end with their signal; their number is bounded. */
export class SequenceWait<T extends bigint | number> {
  #value: T;
  #waiters: Waiter<T>[] = [];
  #failure: unknown;
  readonly #maxWaiters: number;

  constructor(initial: T, maxWaiters = 10_000) {
    this.#value = initial;
    this.#maxWaiters = maxWaiters;
  }

  get value(): T {
    return this.#value;
  }

  /** Sets a larger value and wakes those who waited for it; a smaller one is ignored. */
  advance(value: T): void {
    if (value <= this.#value) return;
    this.#value = value;
    if (this.#waiters.length === 0) return;
    const due = this.#waiters.filter((w) => w.target <= value);
    if (due.length === 0) return;
    this.#waiters = this.#waiters.filter((w) => w.target > value);
    for (const w of due) {
      w.cancelWatch();
      w.resolve();
    }
  }

  /** Ends all present and future waits with `error`. */
  fail(error: unknown): void {
    this.#failure = error;
    for (const w of this.#waiters.splice(0)) {
      w.cancelWatch();
      w.reject(error);
    }
  }

  /** Resolves once the value is at least `target`; rejects when the signal fires or the sequence failed. */
  async waitFor(target: T, signal: AbortSignal): Promise<void> {
    if (this.#value >= target) return;
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#waiters.length >= this.#maxWaiters) {
      throw new CoppiceError(
        'Unavailable',
        'too-many-waiters',
        `${this.#maxWaiters} waits are under way already`,
        { remedy: 'Try again shortly.' },
      );
    }
    signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiters = this.#waiters.filter((w) => w !== waiter);
        reject(signal.reason);
      };
      const waiter: Waiter<T> = {
        target,
        resolve,
        reject,
        cancelWatch: () => signal.removeEventListener('abort', onAbort),
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiters.push(waiter);
    });
  }
}
