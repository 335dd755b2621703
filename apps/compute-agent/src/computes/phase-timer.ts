import type { Clock } from '@coppice/service-kit';

export interface Phase {
  readonly name: string;
  readonly milliseconds: number;
}

/** Measures the steps of a start, one after the other. */
export class PhaseTimer {
  readonly #clock: Clock;
  readonly #phases: Phase[] = [];
  #since: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#since = clock.monotonic();
  }

  /** The step `name` ends now. */
  done(name: string): void {
    const now = this.#clock.monotonic();
    this.#phases.push({ name, milliseconds: Math.round((now - this.#since) * 100) / 100 });
    this.#since = now;
  }

  get phases(): readonly Phase[] {
    return this.#phases;
  }
}
