/** Ends what is due of one kind, longest overdue first, within rate limit and brake. */
import { type Clock, Counter, Gauge, type Log } from '@coppice/service-kit';
import { allow, type AllowanceLimits, type AllowanceState, firstState } from './sweep-allowance';

const ended = new Counter({
  name: 'coppice_reaper_ended_total',
  help: 'What was ended, by kind.',
  labelNames: ['kind'],
});
const failed = new Counter({
  name: 'coppice_reaper_failed_total',
  help: 'What was due and could not be ended, by kind.',
  labelNames: ['kind'],
});
const dueGauge = new Gauge({
  name: 'coppice_reaper_due',
  help: 'What was due when the last sweep began, by kind.',
  labelNames: ['kind'],
});
const brake = new Gauge({
  name: 'coppice_reaper_brake',
  help: '1 while the share-of-fleet brake holds, by kind.',
  labelNames: ['kind'],
});

/** Candidates that a dry run names. */
const NAMED = 100;

/** One thing that was due. */
export interface Candidate {
  readonly id: string;
  readonly why: string;
  readonly done: boolean;
  /** Empty unless it could not be ended. */
  readonly failure: string;
  readonly projectId?: string;
  readonly branchId?: string;
}

/** What there is of one kind, and how it is ended. */
export interface Sweepable {
  readonly kind: string;
  /** How much is due, of about how much there is; a population of 0 is unknown and never brakes. */
  look(signal: AbortSignal): Promise<{ readonly due: number; readonly population: number }>;
  /** Ends at most `limit`; a dry run only lists them. */
  end(limit: number, dryRun: boolean, signal: AbortSignal): Promise<readonly Candidate[]>;
}

export interface SweepOptions {
  readonly what: Sweepable;
  readonly limits: AllowanceLimits;
  readonly dryRun: boolean;
  readonly clock: Clock;
  readonly log: Log;
}

export class Sweep {
  readonly #o: SweepOptions;
  #state: AllowanceState;
  #wasBraked = false;

  constructor(options: SweepOptions) {
    this.#o = options;
    this.#state = firstState(options.limits, options.clock.monotonic());
  }

  /** One sweep; answers with how many were ended. */
  async run(signal: AbortSignal): Promise<number> {
    const { what, dryRun } = this.#o;
    const take = await this.#allowed(signal);
    if (take === 0) return 0;
    if (dryRun) {
      this.#report(await what.end(Math.min(take, NAMED), true, signal));
      return 0;
    }
    return this.#count(await what.end(take, false, signal));
  }

  async #allowed(signal: AbortSignal): Promise<number> {
    const { what, limits, clock, log } = this.#o;
    const { kind } = what;
    const seen = await what.look(signal);
    const allowance = allow(limits, this.#state, { ...seen, nowMs: clock.monotonic() });
    this.#state = allowance.state;
    dueGauge.set({ kind }, seen.due);
    brake.set({ kind }, allowance.braked ? 1 : 0);
    if (allowance.braked && !this.#wasBraked) {
      log.error(
        { kind, ...seen, holdMs: limits.brakeHoldMs },
        'too large a share of the fleet is due at once, the reaper holds still',
      );
    }
    this.#wasBraked = allowance.braked;
    return allowance.take;
  }

  #report(candidates: readonly Candidate[]): void {
    const { what, log } = this.#o;
    if (candidates.length === 0) return;
    const named = candidates.map(({ id, why }) => ({ id, why }));
    log.info({ kind: what.kind, candidates: named }, 'would end');
  }

  #count(candidates: readonly Candidate[]): number {
    const { what, log } = this.#o;
    const { kind } = what;
    const done = candidates.filter((c) => c.done);
    ended.inc({ kind }, done.length);
    for (const { id, why, projectId, branchId } of done)
      log.info({ kind, id, projectId, branchId, why }, 'what was due is ended');
    for (const { id, failure } of candidates.filter((c) => c.failure !== '')) {
      failed.inc({ kind });
      log.warn({ kind, id, failure }, 'what is due is not ended');
    }
    return done.length;
  }
}
