import { type Clock, Histogram } from '@coppice/service-kit';

const phaseSeconds = new Histogram({
  name: 'coppice_compute_start_phase_seconds',
  help: 'Steps of starts of computes that succeeded, seconds. "image" is what is left of it after the election, with which it overlaps.',
  labelNames: ['phase'],
  buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
});

export type PhaseName = 'elect' | 'image' | 'prepare' | 'postgres' | 'ready' | 'setup';

export interface Phase {
  readonly name: PhaseName;
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
  done(name: PhaseName): void {
    const now = this.#clock.monotonic();
    this.#phases.push({ name, milliseconds: Math.round((now - this.#since) * 100) / 100 });
    this.#since = now;
  }

  get phases(): readonly Phase[] {
    return this.#phases;
  }

  /** The start has succeeded: its steps count. */
  observe(): void {
    for (const { name, milliseconds } of this.#phases)
      phaseSeconds.observe({ phase: name }, milliseconds / 1000);
  }
}
