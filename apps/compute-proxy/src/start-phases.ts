import { type Clock, Histogram } from '@coppice/service-kit';

const phaseSeconds = new Histogram({
  name: 'coppice_proxy_start_phase_seconds',
  help: 'Steps of a session that is held, seconds: "wake" until the control-plane says where the compute runs, "open" until its backend is ready for queries; and "first row", for sessions and pooled server connections for which a compute was started, from when they were wanted until the first bytes that answer a query, without the time that the client took to ask.',
  labelNames: ['phase'],
  buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
});

/** Does one step of a session's start and observes how long that took; a step that fails is not observed. */
export async function measured<T>(phase: 'wake' | 'open', clock: Clock, step: () => Promise<T>): Promise<T> {
  const from = clock.monotonic();
  const result = await step();
  phaseSeconds.observe({ phase }, (clock.monotonic() - from) / 1000);
  return result;
}

/** Hears of what passes between a client and its compute until it has heard enough. */
export interface FirstExchange {
  /** The client has sent something. */
  asked(): void;
  /** The compute has sent something; true: there is no more to be heard. */
  answered(): boolean;
}

/**
 * Observes one "first row". Made when the session is ready; `wantedAt`: when its client connected, or a pool began to open it (of
 * the monotonic clock, milliseconds). What the compute says before it is asked, such as a notice, is no answer.
 */
export function firstRow(clock: Clock, wantedAt: number): FirstExchange {
  const heldMs = clock.monotonic() - wantedAt;
  let askedAt: number | undefined;
  return {
    asked: () => void (askedAt ??= clock.monotonic()),
    answered: () => {
      if (askedAt === undefined) return false;
      phaseSeconds.observe({ phase: 'first row' }, (heldMs + clock.monotonic() - askedAt) / 1000);
      return true;
    },
  };
}
