/** Work that callers share by key: begun for the first, joined by the others, and told when nobody waits for it any more. */

interface Shared<T> {
  readonly done: Promise<T>;
  readonly nobodyWaits: AbortController;
  waiting: number;
}

export class SharedWork<K, T> {
  readonly #underWay = new Map<K, Shared<T>>();

  has(key: K): boolean {
    return this.#underWay.has(key);
  }

  /**
   * A caller that goes away leaves the work to the others. When none is left, its signal fires: what goes on after that is nobody's,
   * and who comes then begins anew.
   */
  join(key: K, signal: AbortSignal | undefined, begin: (nobodyWaits: AbortSignal) => Promise<T>): Promise<T> {
    if (signal?.aborted) return Promise.reject(signal.reason as Error);
    const shared = this.#underWay.get(key) ?? this.#begin(key, begin);
    shared.waiting += 1;
    if (!signal) return shared.done;
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        shared.waiting -= 1;
        if (shared.waiting === 0) {
          this.#forget(key, shared);
          shared.nobodyWaits.abort(signal.reason);
        }
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      void shared.done.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
    });
  }

  #begin(key: K, begin: (nobodyWaits: AbortSignal) => Promise<T>): Shared<T> {
    const nobodyWaits = new AbortController();
    const shared: Shared<T> = { done: begin(nobodyWaits.signal), nobodyWaits, waiting: 0 };
    this.#underWay.set(key, shared);
    const over = (): void => this.#forget(key, shared);
    shared.done.then(over, over);
    return shared;
  }

  #forget(key: K, shared: Shared<T>): void {
    if (this.#underWay.get(key) === shared) this.#underWay.delete(key);
  }
}
