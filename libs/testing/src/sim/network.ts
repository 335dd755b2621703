import type { World } from './world';

/** How bad the network is; all chances per message. */
export interface NetworkFaults {
  readonly loss: number;
  readonly duplication: number;
  /** Chance that a message overtakes: it is not held back behind earlier ones of its direction. */
  readonly reordering: number;
  readonly minDelay: number;
  readonly maxDelay: number;
}

/** Delivers between named nodes with delay, loss, duplication and reordering; nodes can be cut off from each other. */
export class Network {
  readonly #world: World;
  #faults: NetworkFaults;
  readonly #cut = new Set<string>();
  readonly #lastArrival = new Map<string, number>();

  constructor(world: World, faults: NetworkFaults) {
    this.#world = world;
    this.#faults = faults;
  }

  cut(a: string, b: string): void {
    this.#cut.add(link(a, b));
  }

  heal(): void {
    this.#cut.clear();
  }

  /** From now on every message arrives once, in order. */
  calm(): void {
    this.heal();
    this.#faults = { ...this.#faults, loss: 0, duplication: 0, reordering: 0 };
  }

  /** Whether the two can talk now. */
  connected(a: string, b: string): boolean {
    return !this.#cut.has(link(a, b));
  }

  /** Sends one message; `deliver` runs at its arrival, perhaps again much later, perhaps never. */
  send(from: string, to: string, deliver: () => void): void {
    const { random } = this.#world;
    const { loss, duplication, minDelay, maxDelay } = this.#faults;
    if (random.chance(loss)) return;
    this.#arrive(from, to, this.#inOrder(from, to), deliver);
    if (random.chance(duplication)) this.#arrive(from, to, random.between(minDelay, 10 * maxDelay), deliver);
  }

  /** A delay that keeps the order of this direction, unless the message overtakes. */
  #inOrder(from: string, to: string): number {
    const { random, now } = this.#world;
    const delay = random.between(this.#faults.minDelay, this.#faults.maxDelay);
    if (random.chance(this.#faults.reordering)) return delay;
    const direction = `${from}>${to}`;
    const at = Math.max(now + delay, this.#lastArrival.get(direction) ?? 0);
    this.#lastArrival.set(direction, at);
    return at - now;
  }

  #arrive(from: string, to: string, delay: number, deliver: () => void): void {
    this.#world.after(delay, () => {
      if (this.connected(from, to)) deliver();
    });
  }
}

function link(a: string, b: string): string {
  return a < b ? `${a}|${b}` : `${b}|${a}`;
}
