import type { ComputeState, ComputeStatus, StartComputeRequest } from '@coppice/contracts';
import { asCoppiceError, CoppiceError, withDeadline } from '@coppice/service-kit';
import { INVALID_LSN, term } from '@coppice/vocabulary';
import { SOCKET_PORT } from './compute-directory';
import type { ComputeServices } from './compute-services';
import { type ComputeEvent, isOver, nextState } from './compute-state';
import type { ComputeFacts, ComputeUse, RunningCompute } from './running-compute';
import { startCompute } from './start-compute';

/** One compute over its whole life: its state, and who waits for what. */
export class Compute {
  readonly request: StartComputeRequest;
  readonly #services: ComputeServices;
  readonly #onUnaskedEnd: () => void;
  readonly #cancelStart = new AbortController();
  #state: ComputeState = 'empty';
  #running: RunningCompute | undefined;
  /** Once it is over: many such are remembered, and what ran is large. */
  #last: { readonly facts: ComputeFacts; readonly use: ComputeUse } | undefined;
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #failure = '';
  /** Monotonic milliseconds; `undefined` while it is not over. */
  #overSince: number | undefined;
  #lastActiveMs: number;

  constructor(request: StartComputeRequest, services: ComputeServices, onUnaskedEnd: () => void) {
    this.request = request;
    this.#onUnaskedEnd = onUnaskedEnd;
    this.#services = services;
    this.#lastActiveMs = services.clock.now();
  }

  get state(): ComputeState {
    return this.#state;
  }

  get isOver(): boolean {
    return isOver(this.#state);
  }

  /** For how long it has been over, milliseconds; 0 while it is not. */
  get overForMs(): number {
    return this.#overSince === undefined ? 0 : this.#services.clock.monotonic() - this.#overSince;
  }

  status(): ComputeStatus {
    const facts = this.#running?.facts() ?? this.#last?.facts;
    const { computeId, endpointId, timelineId, keepDataDirectory } = this.request;
    return {
      computeId,
      endpointId,
      timelineId,
      state: this.#state,
      socketDirectory: facts?.socketDirectory ?? '',
      port: SOCKET_PORT,
      startLsn: facts?.startLsn ?? INVALID_LSN,
      commitLsn: facts?.commitLsn ?? INVALID_LSN,
      lastActiveUnixMs: Math.round(facts?.lastActiveMs ?? this.#lastActiveMs),
      term: facts?.term ?? term(0),
      failure: this.#failure,
      phases: facts?.phases ?? [],
      dataDirectory: keepDataDirectory ? (facts?.dataDirectory ?? '') : '',
      ...(facts?.size && { size: facts.size }),
      held: facts?.held ?? false,
      clockUnixMs: Math.round(this.#services.clock.now()),
    };
  }

  /** What it was used for; `undefined` when it never ran. */
  use(): ComputeUse | undefined {
    return this.#running?.use() ?? this.#last?.use;
  }

  /** What runs now. Throws `Conflict` when it does not. */
  get running(): RunningCompute {
    if (this.#running && this.#state === 'running') return this.#running;
    throw new CoppiceError('Conflict', 'compute-not-running', `compute ${this.request.computeId} is ${this.#state}`, { remedy: 'Start the endpoint, then ask again.' });
  }

  /** Starts it, or joins the start under way. Rejects with why it could not start. */
  async start(): Promise<void> {
    this.#starting ??= this.#start();
    await this.#starting;
  }

  /** Stops it; joins a stop under way. What is over stays as it is. */
  async stop(immediate: boolean): Promise<void> {
    if (this.isOver) return;
    if (!this.#running) {
      this.#cancelStart.abort(new CoppiceError('Conflict', 'compute-stopped', 'the compute was stopped while it started'));
      await this.#starting?.catch(() => undefined);
      return;
    }
    if (immediate && this.#stopping) {
      await this.#running.kill();
      await this.#stopping.catch(() => undefined);
      return;
    }
    this.#stopping ??= this.#stop(this.#running, immediate);
    await this.#stopping;
  }

  async #start(): Promise<void> {
    this.#take('start');
    const { clock, limits, starts } = this.#services;
    const { signal } = this.#cancelStart;
    try {
      this.#running = await starts.run(() => startCompute(this.request, this.#services, withDeadline(limits.startDeadlineMs, signal)), signal);
      this.#lastActiveMs = clock.now();
      this.#take('ready');
      // Once it is being stopped, how that goes decides.
      void this.#running.ended.catch((error: unknown) => {
        if (this.#stopping) return;
        this.#fail(error);
        this.#onUnaskedEnd();
      });
    } catch (error) {
      this.#fail(error);
      throw error;
    }
  }

  async #stop(running: RunningCompute, immediate: boolean): Promise<void> {
    this.#take('stop');
    try {
      if (immediate) await running.kill();
      else await running.suspend();
      this.#take('ended');
    } catch (error) {
      this.#fail(error);
      throw error;
    }
  }

  #fail(error: unknown): void {
    if (this.isOver) return;
    const { message, code } = asCoppiceError(error);
    this.#failure = message;
    this.#services.log.warn({ err: error, compute: this.request.computeId, code }, 'compute fails');
    this.#take('fail');
  }

  #take(event: ComputeEvent): void {
    this.#state = nextState(this.#state, event);
    if (!this.isOver) return;
    this.#overSince ??= this.#services.clock.monotonic();
    if (this.#running) this.#last = { facts: this.#running.facts(), use: this.#running.use() };
    this.#running = undefined;
  }
}
