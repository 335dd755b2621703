import type { ComputeActivity, ComputeLimitsRequest, ComputeStatus, StartComputeRequest } from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';
import { Compute } from './compute';
import type { ComputeServices } from './compute-services';

/** Computes that are over are remembered, so that a repeated stop or question still gets its answer; the newest of them. */
const REMEMBERED = 1_000;

/** All computes of this agent, by id. */
export class ComputeRegistry {
  readonly #services: ComputeServices;
  readonly #maxComputes: number;
  readonly #computes = new Map<string, Compute>();
  #changed: () => void = () => undefined;

  constructor(services: ComputeServices, maxComputes: number) {
    this.#services = services;
    this.#maxComputes = maxComputes;
  }

  /** Calls `listener` whenever a compute's state has changed. */
  onChange(listener: () => void): void {
    this.#changed = listener;
  }

  /** Starts a compute, joins its start, or answers with the one that runs. */
  async start(request: StartComputeRequest): Promise<ComputeStatus> {
    const known = this.#computes.get(request.computeId);
    const compute = known ?? this.#add(request);
    if (compute.isOver) throw new CoppiceError('Conflict', 'compute-over', `compute ${request.computeId} is ${compute.state}: ${compute.status().failure || 'it was stopped'}`, { remedy: 'Start the endpoint with a new compute id.' });
    await compute.start();
    return compute.status();
  }

  async stop(computeId: string, immediate: boolean): Promise<ComputeStatus> {
    const compute = this.get(computeId);
    await compute.stop(immediate);
    return compute.status();
  }

  /** Throws `NotFound` for an unknown id. */
  get(computeId: string): Compute {
    const compute = this.#computes.get(computeId);
    if (!compute) throw new CoppiceError('NotFound', 'no-such-compute', `this agent has no compute ${computeId}`);
    return compute;
  }

  list(): ComputeStatus[] {
    return [...this.#computes.values()].map((compute) => compute.status());
  }

  /** What the control-plane is told of each. */
  async reports(): Promise<ComputeActivity[]> {
    return Promise.all(
      [...this.#computes.values()].map(async (compute) => {
        const use = await compute.use();
        const { computeId, lastActiveUnixMs, commitLsn, state, failure, size } = compute.status();
        const sizes = size && { computeUnits: size.units, minComputeUnits: size.minUnits, maxComputeUnits: size.maxUnits, unitSeconds: size.unitSeconds };
        return { computeId, lastActiveUnixMs, commitLsn, state, failure, ...use, ...sizes };
      }),
    );
  }

  /** Changes limits of a compute that runs. */
  async setLimits({ computeId, ...limits }: ComputeLimitsRequest): Promise<ComputeStatus> {
    const compute = this.get(computeId);
    await compute.running.setLimits(limits);
    return compute.status();
  }

  /** Suspends everything: the agent stops. */
  async stopAll(): Promise<void> {
    const results = await Promise.allSettled([...this.#computes.values()].map((compute) => compute.stop(false)));
    for (const r of results) if (r.status === 'rejected') this.#services.log.warn({ err: r.reason as unknown }, 'a compute does not stop in good order');
  }

  #add(request: StartComputeRequest): Compute {
    const live = [...this.#computes.values()].filter((c) => !c.isOver);
    if (live.length >= this.#maxComputes) {
      throw new CoppiceError('Unavailable', 'agent-full', `this agent runs ${live.length} computes, its limit`, { remedy: 'Stop computes or add an agent.' });
    }
    // Leases of other endpoints do not compare: between those the safekeepers' terms decide.
    const { endpointId, timelineId, fencingToken } = request;
    const newer = live.find(({ request: r }) => r.timelineId === timelineId && r.endpointId === endpointId && r.fencingToken > fencingToken);
    if (newer) throw new CoppiceError('Fenced', 'older-lease', `compute ${newer.request.computeId} of this timeline holds a newer lease`);
    this.#forgetOldest();
    const compute = new Compute(request, this.#services, () => this.#changed());
    this.#computes.set(request.computeId, compute);
    return compute;
  }

  #forgetOldest(): void {
    const over = [...this.#computes].filter(([, c]) => c.isOver);
    for (const [id] of over.slice(0, Math.max(0, over.length - REMEMBERED))) this.#computes.delete(id);
  }
}
