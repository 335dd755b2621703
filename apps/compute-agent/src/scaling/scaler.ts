import type { SizeBounds } from '@coppice/scaling';
import { BackgroundLoop, type Clock, type Log } from '@coppice/service-kit';
import type { ResourceGroup } from '../resources/compute-resources';
import { ComputeScaler, type ScalingTimes } from './compute-scaler';

export interface ScalerOptions {
  /** Most that one compute can get here. */
  readonly nodeCpus: number;
  readonly times: ScalingTimes;
  readonly clock: Clock;
  readonly log: Log;
}

/** Looks at all computes of this agent in turn. */
export class Scaler {
  readonly #options: ScalerOptions;
  readonly #loop: BackgroundLoop;
  readonly #computes = new Set<ComputeScaler>();

  constructor(options: ScalerOptions) {
    this.#options = options;
    const { clock, log, times } = options;
    this.#loop = new BackgroundLoop({
      name: 'scaling',
      everyMs: times.lookEveryMs,
      clock,
      log,
      run: async () => this.#round(),
    });
  }

  /** Scales a compute that begins to run, until its scaler is lifted. */
  scale(compute: {
    readonly group: ResourceGroup;
    readonly bounds: SizeBounds;
    readonly log: Log;
  }): ComputeScaler {
    const scaler = new ComputeScaler({ ...this.#options, ...compute });
    this.#computes.add(scaler);
    return scaler;
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  #round(): void {
    for (const compute of this.#computes) {
      if (compute.isOver) {
        this.#computes.delete(compute);
        continue;
      }
      try {
        compute.look();
      } catch (error) {
        this.#options.log.warn({ err: error }, 'what a compute uses cannot be read; its size stays');
      }
    }
  }
}
