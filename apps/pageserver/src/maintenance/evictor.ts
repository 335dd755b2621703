import type { Log, Part } from '@coppice/service-kit';
import { BackgroundLoop, part } from '@coppice/service-kit';
import type { Timelines } from '../storage/timelines';

const EVERY_MS = 5_000;

/** Lets timelines that nobody uses leave memory, from time to time. */
export function evictor(timelines: Timelines, log: Log): Part {
  const loop = new BackgroundLoop({ name: 'evict', everyMs: EVERY_MS, log, run: async () => timelines.evictIdle() });
  return part('evictor', () => loop.start(), () => loop.stop());
}
