/** Suspends computes that have been idle past their limit, oldest first, within rate limit and brake. */
import type { Client, controlInternalContract } from '@coppice/contracts';
import { type Clock, Counter, Gauge, type Log } from '@coppice/service-kit';
import { allow, type AllowanceLimits, type AllowanceState, firstState } from './sweep-allowance';

const suspended = new Counter({
  name: 'coppice_reaper_suspended_total',
  help: 'Idle computes that were suspended.',
});
const failed = new Counter({
  name: 'coppice_reaper_failed_total',
  help: 'Idle computes that could not be suspended.',
});
const dueGauge = new Gauge({
  name: 'coppice_reaper_due',
  help: 'Idle computes that were due in the last sweep (counted up to the look-ahead).',
});
const brake = new Gauge({ name: 'coppice_reaper_brake', help: '1 while the share-of-fleet brake holds.' });

/** Due computes that a sweep looks at in order to see whether too many are. */
const LOOK_AHEAD = 1000;

export type InternalClient = Client<(typeof controlInternalContract)['methods']>;

export interface SweepOptions {
  readonly control: Pick<InternalClient, 'suspendIdle'>;
  readonly limits: AllowanceLimits;
  readonly dryRun: boolean;
  readonly clock: Clock;
  readonly log: Log;
}

export class SweepIdleComputes {
  readonly #o: SweepOptions;
  #state: AllowanceState;
  #wasBraked = false;

  constructor(options: SweepOptions) {
    this.#o = options;
    this.#state = firstState(options.limits, options.clock.monotonic());
  }

  /** One sweep; answers with how many were suspended. */
  async sweep(signal: AbortSignal): Promise<number> {
    const { control, limits, dryRun, clock, log } = this.#o;
    const { computes: due, running } = await control.suspendIdle(
      { limit: LOOK_AHEAD, dryRun: true },
      { signal },
    );
    const allowance = allow(limits, this.#state, { due: due.length, running, nowMs: clock.monotonic() });
    this.#state = allowance.state;
    dueGauge.set(due.length);
    brake.set(allowance.braked ? 1 : 0);
    if (allowance.braked && !this.#wasBraked) {
      log.error(
        { due: due.length, running, holdMs: limits.brakeHoldMs },
        'too large a share of the fleet is due at once, the reaper holds still',
      );
    }
    this.#wasBraked = allowance.braked;
    if (dryRun) {
      if (due.length > 0)
        log.info(
          {
            computes: due.map((c) => ({ endpointId: c.endpointId, idleMs: c.idleMs })),
            take: allowance.take,
          },
          'would suspend',
        );
      return 0;
    }
    if (allowance.take === 0) return 0;
    const { computes } = await control.suspendIdle({ limit: allowance.take, dryRun: false }, { signal });
    const done = computes.filter((c) => c.suspended);
    suspended.inc(done.length);
    for (const c of done)
      log.info(
        { computeId: c.computeId, endpointId: c.endpointId, idleMs: c.idleMs },
        'idle compute is suspended',
      );
    for (const c of computes.filter((x) => x.failure !== '')) {
      failed.inc();
      log.warn(
        { computeId: c.computeId, endpointId: c.endpointId, failure: c.failure },
        'idle compute is not suspended',
      );
    }
    return done.length;
  }
}
