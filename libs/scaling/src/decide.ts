/**
 * Which size a compute should have: up at once, down late.
 *
 *   share of the size in use
 *     1.0 ┤
 *     0.9 ┤ ─ ─ ─ ─  FULL: up, to twice the size at least. A compute that is full cannot tell how much more it wants.
 *         │          in between: it stays
 *     0.7 ┤ ─ ─ ─ ─  COMFORTABLE: a smaller size must not be fuller than this, or it would soon be left again
 *     0.0 ┤
 *
 * Up takes one look at a compute that was full since the look before. Down takes `downAfterMs` throughout which less would have
 * done, and leads to the most that was needed in that time: load that comes again and again within it changes nothing, and who
 * falls idle is at the smallest size after twice that time at the latest.
 *
 * Memory is CPU's equal: what the kernel cannot take back must fit as well. The page cache is taken back where a size leaves no
 * room for it; when it is read again soon after, that was too little, and what was too little is not tried again for a while.
 */
import type { Load } from './load';
import { BYTES_PER_UNIT, type SizeBounds, sizeFor } from './sizes';

const FULL = 0.9;
const COMFORTABLE = 0.7;
/** Held back in as many of its periods, a compute that is not quite full has work that comes in bursts. */
const THROTTLED = 0.5;
/** Page cache read again, bytes per second: a tenth of what a local disk reads. */
const THRASHING = 32 * 1024 * 1024;
const CACHE_FLOOR_MS = 600_000;

/** What is remembered of a compute from one decision to the next. */
export interface Scaling {
  readonly units: number;
  /** Since when a smaller size would have done, and the largest of the sizes that were needed since. */
  readonly calm?: { readonly sinceMs: number; readonly units: number } | undefined;
  /** No smaller size until then: the page cache did not fit. */
  readonly cacheFloor?: { readonly untilMs: number; readonly units: number } | undefined;
}

export interface ScalingRules {
  readonly bounds: SizeBounds;
  /** For how long less must have done before a compute gets less, milliseconds. */
  readonly downAfterMs: number;
}

/** After a look at `nowMs` that found `load` since the look before. The size is within the bounds, whatever it was. */
export function decide(
  before: Scaling,
  load: Load,
  { bounds, downAfterMs }: ScalingRules,
  nowMs: number,
): Scaling {
  const units = Math.min(bounds.max, Math.max(bounds.min, before.units));
  const needed = Math.max(load.cpus, load.heldBytes / BYTES_PER_UNIT) / COMFORTABLE;
  const thrashes = load.refaultedBytesPerSecond >= THRASHING;
  if (isFull(load, units) || thrashes) {
    const more = sizeFor(Math.max(needed, 2 * units), bounds);
    return {
      units: more,
      cacheFloor: thrashes ? { untilMs: nowMs + CACHE_FLOOR_MS, units: more } : before.cacheFloor,
    };
  }
  const cacheFloor = before.cacheFloor && nowMs < before.cacheFloor.untilMs ? before.cacheFloor : undefined;
  const enough = sizeFor(Math.max(needed, cacheFloor?.units ?? 0), bounds);
  const calm = { sinceMs: before.calm?.sinceMs ?? nowMs, units: Math.max(enough, before.calm?.units ?? 0) };
  if (calm.units >= units) return { units, cacheFloor };
  if (nowMs - calm.sinceMs < downAfterMs) return { units, calm, cacheFloor };
  return { units: Math.max(bounds.min, calm.units), cacheFloor };
}

function isFull(load: Load, units: number): boolean {
  if (load.heldBytes >= FULL * units * BYTES_PER_UNIT) return true;
  if (load.cpus >= FULL * units) return true;
  return load.throttledShare >= THROTTLED && load.cpus > COMFORTABLE * units;
}
