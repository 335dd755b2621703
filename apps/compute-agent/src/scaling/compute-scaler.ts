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
  #lifting: Promise<void> | undefined;

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
    this.#decide({ ...NO_LOAD, heldBytes: this.#looked.heldBytes });
    await this.#resizing;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** It stops: nothing holds it back any more. */
  lift(): Promise<void> {
    return (this.#lifting ??= this.#lift());
  }

  async #lift(): Promise<void> {
    await this.#resizing;
    this.#charge();
    this.#isOver = true;
    computesBySize.dec({ units: this.#scaling.units });
    await this.#options.group.resize(undefined);
  }

  /** Puts what the policy says in force, and takes it for the size only then. */
  #decide(load: Load): void {
    const { clock, times, group, log } = this.#options;
    if (this.#resizing || this.#isOver) return;
    const now = clock.monotonic();
    const rules = { bounds: this.#onNode(), downAfterMs: times.downAfterMs };
    const next = decide(this.#scaling, load, rules, now);
    const size = this.#sizeInForce(next.units, load.heldBytes);
    if (now - this.#startedAt < times.freeStartMs || isSame(size, this.#inForce)) {
      this.#take(next, load);
      return;
    }
    this.#resizing = group
      .resize(size)
      .then(() => {
        this.#inForce = size;
        this.#take(next, load);
      })
      .catch((error: unknown) => {
        failedResizes.inc();
        log.warn({ err: error, units: next.units }, 'a size cannot be put in force');
      })
      .finally(() => (this.#resizing = undefined));
  }

  #take(next: Scaling, load: Load): void {
    this.#charge();
    const before = this.#scaling.units;
    this.#scaling = next;
    const { units } = next;
    if (units === before) return;
    computesBySize.dec({ units: before });
    computesBySize.inc({ units });
    sizeChanges.inc({ direction: units > before ? 'up' : 'down' });
    const heldMib = Math.round(load.heldBytes / 1024 ** 2);
    this.#options.log.info(
      { units, before, cpus: load.cpus.toFixed(2), heldMib },
      'compute gets another size',
    );
  }

  #sizeInForce(units: number, heldBytes: number): SizeInForce {
    const mostUnits = this.#onNode().max;
    return {
      cpus: units,
      memory: memoryLimits({ units, mostUnits, heldBytes, before: this.#inForce?.memory }),
    };
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

function isSame(a: SizeInForce, b: SizeInForce | undefined): boolean {
  return a.cpus === b?.cpus && a.memory.soft === b.memory.soft && a.memory.hard === b.memory.hard;
}
