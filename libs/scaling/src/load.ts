/** What a compute has used, as far as its kernel counts it. */
export interface UsageCounters {
  /** Of a clock that never jumps, milliseconds. */
  readonly atMs: number;
  readonly cpuSeconds: number;
  /** Scheduler periods in which it wanted CPU, and those of them in which it used up its share; none where none is set. */
  readonly periods: number;
  readonly throttledPeriods: number;
  /** Time for which its processes were held back, summed over CPUs. */
  readonly throttledSeconds: number;
  /** Memory now that the kernel cannot take back: all but the page cache. */
  readonly heldBytes: number;
  /** Page cache read again soon after it was taken back. */
  readonly refaultedBytes: number;
}

/** How a compute is loaded over a stretch of time. */
export interface Load {
  readonly cpus: number;
  /** Of its periods those in which it was held back, 0 to 1. */
  readonly throttledShare: number;
  readonly heldBytes: number;
  readonly refaultedBytesPerSecond: number;
}

export const NO_LOAD: Load = { cpus: 0, throttledShare: 0, heldBytes: 0, refaultedBytesPerSecond: 0 };

/** Counters that start anew, as for other processes, count as no load. */
export function loadBetween(before: UsageCounters, after: UsageCounters): Load {
  const seconds = (after.atMs - before.atMs) / 1000;
  if (seconds <= 0) return { ...NO_LOAD, heldBytes: after.heldBytes };
  const grown = (of: (counters: UsageCounters) => number): number => Math.max(0, of(after) - of(before));
  const periods = grown((c) => c.periods);
  return {
    cpus: grown((c) => c.cpuSeconds) / seconds,
    throttledShare: periods === 0 ? 0 : Math.min(1, grown((c) => c.throttledPeriods) / periods),
    heldBytes: after.heldBytes,
    refaultedBytesPerSecond: grown((c) => c.refaultedBytes) / seconds,
  };
}
