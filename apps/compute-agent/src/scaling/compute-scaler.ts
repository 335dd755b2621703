/**
 * The size of one compute that runs: looks at what it uses, asks the policy, puts the answer in force. Nothing is limited during
 * its first seconds, so that a cold start and the queries that waited for it are not held back, nor while it stops.
 */
import {
  boundsOnNode,
  decide,
  loadBetween,
  memoryLimits,
  NO_LOAD,
  type Load,
  type Scaling,
  type SizeBounds,
  type UsageCounters,
} from '@coppice/scaling';
import type { Clock, Log } from '@coppice/service-kit';
import type { ResourceGroup, SizeInForce } from '../resources/compute-resources';
import { computesBySize, failedResizes, sizeChanges, throttledSeconds } from './metrics';

/** CPUs below which a compute is taken to do nothing. */
const QUIET = 0.01;

export interface ScalingTimes {
  /** Between two looks at a compute that does something; one that does nothing is looked at half as often. */
  readonly lookEveryMs: number;
  readonly downAfterMs: number;
  readonly freeStartMs: number;
}

export interface ComputeScalerOptions {
  readonly group: ResourceGroup;
  readonly bounds: SizeBounds;
  readonly nodeCpus: number;
  readonly times: ScalingTimes;
  readonly clock: Clock;
  readonly log: Log;
}

/** As the control-plane is told of it. */
export interface ComputeSize {
  readonly units: number;
  readonly minUnits: number;
  readonly maxUnits: number;
  /** Its size over time since it began to run: what it is charged. */
  readonly unitSeconds: number;
}

export class ComputeScaler {
  readonly #options: ComputeScalerOptions;
  readonly #startedAt: number;
  #bounds: SizeBounds;
  #scaling: Scaling;
  #looked: UsageCounters;
  #load: Load = NO_LOAD;
  #inForce: SizeInForce | undefined;
  #resizing: Promise<void> | undefined;
  #unitSeconds = 0;
  #chargedUntil: number;
  #isOver = false;

  /** Of a compute that begins to run, in its smallest size. */
  constructor(options: ComputeScalerOptions) {
    this.#options = options;
    this.#bounds = options.bounds;
    this.#looked = options.group.usage();
    this.#startedAt = this.#looked.atMs;
    this.#chargedUntil = this.#startedAt;
    this.#scaling = { units: this.#onNode().min };
    this.#warnOfSmallNode();
    computesBySize.inc({ units: this.#scaling.units });
  }

  get size(): ComputeSize {
    this.#charge();
    return {
      units: this.#scaling.units,
      minUnits: this.#bounds.min,
      maxUnits: this.#bounds.max,
      unitSeconds: this.#unitSeconds,
    };
  }

  /** Looks at it when it is time for that, and changes its size when it should have another. */
  look(): void {
    const { clock, group, times } = this.#options;
    const waitMs = this.#load.cpus < QUIET ? 2 * times.lookEveryMs : times.lookEveryMs;
    // A round that comes a little early is as good.
    if (this.#isOver || clock.monotonic() - this.#looked.atMs < 0.75 * waitMs) return;
    const usage = group.usage();
    throttledSeconds.inc(Math.max(0, usage.throttledSeconds - this.#looked.throttledSeconds));
    this.#load = loadBetween(this.#looked, usage);
    this.#looked = usage;
    this.#decide(this.#load);
  }

  /** Other bounds, from now on. Resolves once the compute has a size within them. */
  async setBounds(bounds: SizeBounds): Promise<void> {
    this.#bounds = bounds;
    this.#warnOfSmallNode();
    await this.#resizing;
    if (this.#isOver) return;
    this.#decide({ ...NO_LOAD, heldBytes: this.#looked.heldBytes });
    await this.#resizing;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** It stops: nothing holds it back any more. */
  async lift(): Promise<void> {
    if (this.#isOver) return;
    this.#charge();
    this.#isOver = true;
    computesBySize.dec({ units: this.#scaling.units });
    await this.#resizing;
    await this.#options.group.resize(undefined);
  }

  #decide(load: Load): void {
    const { clock, times, log } = this.#options;
    if (this.#resizing) return;
    const now = clock.monotonic();
    const before = this.#scaling.units;
    this.#charge();
    this.#scaling = decide(
      this.#scaling,
      load,
      { bounds: this.#onNode(), downAfterMs: times.downAfterMs },
      now,
    );
    const { units } = this.#scaling;
    if (units !== before) {
      computesBySize.dec({ units: before });
      computesBySize.inc({ units });
      sizeChanges.inc({ direction: units > before ? 'up' : 'down' });
      log.info(
        { units, before, cpus: load.cpus.toFixed(2), heldMib: Math.round(load.heldBytes / 1024 ** 2) },
        'compute gets another size',
      );
    }
    if (now - this.#startedAt >= times.freeStartMs) this.#putInForce(load.heldBytes);
  }

  #putInForce(heldBytes: number): void {
    const { units } = this.#scaling;
    const before = this.#inForce;
    const memory = memoryLimits({ units, mostUnits: this.#onNode().max, heldBytes, before: before?.memory });
    if (before?.cpus === units && before.memory.soft === memory.soft && before.memory.hard === memory.hard)
      return;
    const size: SizeInForce = { cpus: units, memory };
    this.#resizing = this.#options.group
      .resize(size)
      .then(() => void (this.#inForce = size))
      .catch((error: unknown) => {
        failedResizes.inc();
        this.#options.log.warn({ err: error, units }, 'a size is not in force yet');
      })
      .finally(() => (this.#resizing = undefined));
  }

  #onNode(): SizeBounds {
    return boundsOnNode(this.#bounds, this.#options.nodeCpus);
  }

  #charge(): void {
    if (this.#isOver) return;
    const now = this.#options.clock.monotonic();
    this.#unitSeconds += (this.#scaling.units * (now - this.#chargedUntil)) / 1000;
    this.#chargedUntil = now;
  }

  #warnOfSmallNode(): void {
    const { nodeCpus, log } = this.#options;
    if (this.#bounds.max > nodeCpus)
      log.info(
        { maxUnits: this.#bounds.max, nodeCpus },
        'compute may grow to more than this node has, and gets what there is',
      );
  }
}
