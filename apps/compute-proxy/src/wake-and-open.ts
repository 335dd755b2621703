import type { WakeResponse } from '@coppice/contracts';
import { type Clock, CoppiceError, withDeadline } from '@coppice/service-kit';
import {
  type ComputeConnection,
  type ComputeSession,
  openCompute,
  ServerRefused,
} from './compute-connection';
import { measured } from './start-phases';
import type { When } from './when';

export interface Waking {
  readonly clock: Clock;
  readonly wake: (endpoint: string, signal: AbortSignal, when?: When) => Promise<WakeResponse>;
  /** Time that a client is held, milliseconds. */
  readonly wakeTimeoutMs: number;
}

const OPEN_ATTEMPTS = 4;
const OPEN_AGAIN_MS = 50;
/** SQLSTATEs of a server that shuts down while a session starts, and of one that does not take sessions at the moment. */
const GOES_OR_COMES: ReadonlySet<string> = new Set(['57P01', '57P03']);

export interface OpenedCompute extends ComputeConnection {
  /** The compute was started for this session, or while it waited. */
  readonly started: boolean;
}

/** A compute can go between the wake and the connection (it was just suspended): then it is woken again. */
export async function wakeAndOpen(
  endpoint: string,
  session: ComputeSession,
  services: Waking,
  signal: AbortSignal,
): Promise<OpenedCompute> {
  const bounded = withDeadline(services.wakeTimeoutMs, signal);
  let hasStarted = false;
  for (let attempt = 1; ; attempt += 1) {
    const woken = await measured('wake', services.clock, () =>
      services.wake(endpoint, bounded, session.when),
    );
    hasStarted ||= woken.started;
    try {
      const opened = await measured('open', services.clock, () => openCompute(woken, session, bounded));
      return { ...opened, started: hasStarted };
    } catch (error) {
      const passing =
        (error instanceof CoppiceError && error.code === 'compute-gone') ||
        (error instanceof ServerRefused && GOES_OR_COMES.has(error.sqlstate));
      if (!passing || attempt === OPEN_ATTEMPTS) throw error;
      await services.clock.sleep(OPEN_AGAIN_MS * attempt, bounded);
    }
  }
}
