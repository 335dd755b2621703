import { SeededRandom } from './random';

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** Virtual time: events run one by one, at their time, in the order they were scheduled. Nothing else moves the clock. */
export class World {
  readonly random: SeededRandom;
  now = 0;
  #order = 0;
  readonly #heap: Event[] = [];

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
  }

  /** Runs `run` after `delay` units of virtual time. */
  after(delay: number, run: () => void): void {
    const event = { at: this.now + delay, order: this.#order++, run };
    const heap = this.#heap;
    let i = heap.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(event, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = event;
  }

  /** Runs events up to time `until`. */
  run(until: number): void {
    while (this.#heap.length > 0 && this.#heap[0]!.at <= until) {
      const event = this.#pop();
      this.now = event.at;
      event.run();
    }
    this.now = Math.max(this.now, until);
  }

  #pop(): Event {
    const heap = this.#heap;
    const top = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
    return top;
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
