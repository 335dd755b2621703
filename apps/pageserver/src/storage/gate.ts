/** Lets work in until it is closed; who closes it waits for what is inside. */
export class Gate {
  #inside = 0;
  #closed: Error | undefined;
  #left: (() => void)[] = [];

  /** Throws what the gate was closed with. Long work asks from time to time. */
  check(): void {
    if (this.#closed) throw this.#closed;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    this.check();
    this.#inside += 1;
    try {
      return await work();
    } finally {
      this.#inside -= 1;
      if (this.#inside === 0) for (const resolve of this.#left.splice(0)) resolve();
    }
  }

  /** Lets nothing more in; resolves when all that was inside has left. */
  async close(why: Error): Promise<void> {
    this.#closed ??= why;
    if (this.#inside > 0) await new Promise<void>((resolve) => this.#left.push(resolve));
  }
}
