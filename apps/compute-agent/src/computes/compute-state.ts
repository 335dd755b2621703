/**
 *   empty ──start──► preparing ──ready──► running ──stop──► stopping ──ended──► stopped
 *                        │                   │                  │
 *                        └──────fail─────────┴──────fail────────┴──────────────► failed
 *
 * A compute is made once: after `stopped` or `failed` the endpoint gets a new one. `stop` during `preparing` fails it.
 */
import type { ComputeState } from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';

export type ComputeEvent = 'start' | 'ready' | 'stop' | 'ended' | 'fail';

const STEPS: Readonly<Record<ComputeState, Partial<Record<ComputeEvent, ComputeState>>>> = {
  empty: { start: 'preparing', fail: 'failed' },
  preparing: { ready: 'running', stop: 'stopping', fail: 'failed' },
  running: { stop: 'stopping', fail: 'failed' },
  stopping: { ended: 'stopped', fail: 'failed' },
  stopped: {},
  failed: {},
};

/** The state after `event`. Throws `Conflict` where the event has no place. */
export function nextState(state: ComputeState, event: ComputeEvent): ComputeState {
  const next = STEPS[state][event];
  if (next) return next;
  throw new CoppiceError('Conflict', 'compute-not-in-state', `a compute that is ${state} cannot take "${event}"`);
}

/** Whether nothing more will happen to it. */
export function isOver(state: ComputeState): boolean {
  return state === 'stopped' || state === 'failed';
}
