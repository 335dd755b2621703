import { CoppiceError } from './errors';

export interface BatchesOptions<Item, Result> {
  /** Only items of the same key go together. */
  readonly keyOf: (item: Item) => string;
  /** Does the work of a batch: a promise for each item, in order. The key's next batch starts when all are settled. */
  readonly run: (items: readonly Item[]) => readonly Promise<Result>[];
  readonly maxBatch: number;
  /** Most items of all keys that wait for their batch to start. */
  readonly maxWaiting?: number;
}

interface Place<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Promise<Result>) => void;
}

/**
 * Does at one go what is asked for at the same time: the first item of a key starts at once, those that come while it is under
 * way make up the next batch. So nobody waits for company, and no item is part of work that began before it came.
 */
export class Batches<Item, Result> {
  readonly #options: BatchesOptions<Item, Result>;
  readonly #maxWaiting: number;
  /** Who waits, by key; there is an entry while a batch of the key is under way. */
  readonly #lines = new Map<string, Place<Item, Result>[]>();
  #waiting = 0;

  constructor(options: BatchesOptions<Item, Result>) {
    this.#options = options;
    this.#maxWaiting = options.maxWaiting ?? 10_000;
  }

  get waiting(): number {
    return this.#waiting;
  }

  async add(item: Item): Promise<Result> {
    const key = this.#options.keyOf(item);
    const line = this.#lines.get(key);
    if (line && this.#waiting >= this.#maxWaiting)
      throw new CoppiceError('Unavailable', 'queue-full', `${this.#maxWaiting} requests wait already`, {
        remedy: 'Try again shortly.',
      });
    return new Promise((resolve) => {
      const place = { item, resolve };
      if (line) {
        this.#waiting += 1;
        line.push(place);
      } else {
        this.#lines.set(key, []);
        this.#start(key, [place]);
      }
    });
  }

  #start(key: string, batch: readonly Place<Item, Result>[]): void {
    const results = this.#run(batch.map((p) => p.item));
    batch.forEach((p, i) => p.resolve(results[i]!));
    void Promise.allSettled(results).then(() => this.#next(key));
  }

  #run(items: readonly Item[]): readonly Promise<Result>[] {
    try {
      return this.#options.run(items);
    } catch (error) {
      return items.map(() => Promise.reject(error as Error));
    }
  }

  #next(key: string): void {
    const line = this.#lines.get(key)!;
    if (line.length === 0) return void this.#lines.delete(key);
    const batch = line.splice(0, this.#options.maxBatch);
    this.#waiting -= batch.length;
    this.#start(key, batch);
  }
}
