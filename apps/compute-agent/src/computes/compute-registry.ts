import type { AgentCapacity, ComputeActivity, ComputeLimitsRequest, ComputeStatus, StartComputeRequest } from '@coppice/contracts';
import { CoppiceError, withDeadline } from '@coppice/service-kit';
import { budgetBytes, hasRoomLeft, type NodeMemory } from '../memory/node-memory';
import { Compute } from './compute';
import type { ComputeServices } from './compute-services';

/** Computes that are over are remembered, so that a repeated stop or question still gets its answer; the newest of them. */
const REMEMBERED = 1_000;

/**
 * How a compute ended is told so long, milliseconds, and until it was heard: a start whose answer was still under way may be
 * taken down as running after the first time.
 */
const TOLD_FOR_MS = 30_000;

/** For a look that somebody waits for, milliseconds. */
const LOOK_MS = 1_500;

export interface RegistryLimits {
  readonly maxComputes: number;
  /** What computes may take together as configured, bytes; 0: a share of what there is. */
  readonly memoryBytes: number;
  readonly startsAtOnce: number;
  /** What the node has now. */
  readonly nodeMemory: () => NodeMemory;
}

/** All computes of this agent, by id. */
export class ComputeRegistry {
  readonly #services: ComputeServices;
  readonly #limits: RegistryLimits;
  readonly #computes = new Map<string, Compute>();
  /** Ends that the control-plane has heard of. */
  readonly #heard = new WeakSet<Compute>();
  #unaskedEnd: () => void = () => undefined;

  constructor(services: ComputeServices, limits: RegistryLimits) {
    this.#services = services;
    this.#limits = limits;
  }

  /** Calls `listener` whenever a compute has ended that nobody stopped: of all else somebody hears who asked for it. */
  onUnaskedEnd(listener: () => void): void {
    this.#unaskedEnd = listener;
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

  /** As it is after another look at what it is used for. */
  async lookAt(computeId: string, signal: AbortSignal): Promise<ComputeStatus> {
    const compute = this.get(computeId);
    if (compute.state === 'running') await compute.running.activity.lookNow(withDeadline(LOOK_MS, signal));
    return compute.status();
  }

  /** What the control-plane is told of this agent and each of its computes. */
  report(): { computes: ComputeActivity[]; capacity: AgentCapacity } {
    const computes = this.reports();
    const usedBytes = computes.reduce((sum, c) => sum + (c.look?.memoryBytes ?? 0), 0);
    const { startsAtOnce, maxComputes, memoryBytes: configuredBytes, nodeMemory } = this.#limits;
    const memoryBytes = budgetBytes({ configuredBytes, usedBytes, node: nodeMemory() });
    return { computes, capacity: { startsAtOnce, maxComputes, memoryBytes } };
  }

  /** What `report` said was heard. */
  heard(computes: readonly ComputeActivity[]): void {
    for (const { computeId, state } of computes) {
      const compute = this.#computes.get(computeId);
      if (compute?.isOver && compute.state === state) this.#heard.add(compute);
    }
  }

  /** Of all that run, and of those whose end is news. */
  reports(): ComputeActivity[] {
    const told = [...this.#computes.values()].filter((c) => c.overForMs < TOLD_FOR_MS || !this.#heard.has(c));
    return told.map((compute) => {
      const { computeId, lastActiveUnixMs, commitLsn, state, failure, size } = compute.status();
      const sizes = size && { computeUnits: size.units, minComputeUnits: size.minUnits, maxComputeUnits: size.maxUnits, unitSeconds: size.unitSeconds };
      return { computeId, lastActiveUnixMs, commitLsn, state, failure, ...compute.use(), ...sizes };
    });
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
    if (live.length >= this.#limits.maxComputes) {
      throw new CoppiceError('Unavailable', 'agent-full', `this agent runs ${live.length} computes, its limit`, { remedy: 'Stop computes or add an agent.' });
    }
    if (!hasRoomLeft(this.#limits.nodeMemory())) {
      throw new CoppiceError('Unavailable', 'agent-full', 'the machine of this agent has no memory left', { remedy: 'Stop computes, or what else takes memory there, or add an agent.' });
    }
    // Leases of other endpoints do not compare: between those the safekeepers' terms decide.
    const { endpointId, timelineId, fencingToken } = request;
    const newer = live.find(({ request: r }) => r.timelineId === timelineId && r.endpointId === endpointId && r.fencingToken > fencingToken);
    if (newer) throw new CoppiceError('Fenced', 'older-lease', `compute ${newer.request.computeId} of this timeline holds a newer lease`);
    this.#forgetOldest();
    const compute = new Compute(request, this.#services, () => this.#unaskedEnd());
    this.#computes.set(request.computeId, compute);
    return compute;
  }

  #forgetOldest(): void {
    const isHeard = (c: Compute): number => (this.#heard.has(c) ? 0 : 1);
    const over = [...this.#computes].filter(([, c]) => c.isOver).sort(([, a], [, b]) => isHeard(a) - isHeard(b));
    for (const [id] of over.slice(0, Math.max(0, over.length - REMEMBERED))) this.#computes.delete(id);
  }
}
