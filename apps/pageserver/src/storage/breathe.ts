import { setImmediate } from 'node:timers/promises';

/** Lets waiting IO and timers run before long work goes on. */
export function breathe(): Promise<void> {
  return setImmediate();
}
