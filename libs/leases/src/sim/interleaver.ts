/** Seeded interleaving: everybody waits at `pause`, and one at a time, picked by the seed, goes on to its next pause. */

/** A control-plane process; killed, it never goes on from where it paused. */
export class SimProcess {
  alive = true;
}

/** The same seed gives the same numbers (mulberry32). */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  unit(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  chance(probability: number): boolean {
    return this.unit() < probability;
  }

  /** From 0 to `most`, both included. */
  upTo(most: number): number {
    return Math.floor(this.unit() * (most + 1));
  }
}

export class Interleaver {
  readonly #dice: Dice;
  #waiting: { readonly process: SimProcess; readonly goOn: () => void }[] = [];

  constructor(dice: Dice) {
    this.#dice = dice;
  }

  pause(process: SimProcess): Promise<void> {
    return new Promise((goOn) => {
      if (process.alive) this.#waiting.push({ process, goOn });
    });
  }

  kill(process: SimProcess): void {
    process.alive = false;
    this.#waiting = this.#waiting.filter((one) => one.process !== process);
  }

  /** Lets one go on to its next pause; `false` when nobody waits. */
  async step(): Promise<boolean> {
    const [next] = this.#waiting.splice(this.#dice.upTo(this.#waiting.length - 1), 1);
    next?.goOn();
    await new Promise((resolve) => setImmediate(resolve));
    return next !== undefined;
  }
}
