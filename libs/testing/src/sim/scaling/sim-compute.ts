/**
 * A compute as its kernel sees it: in each period of 100 ms it gets what its size allows and what it has saved up, and what it
 * wants beyond that is counted as held back. Page cache beyond its size's memory is read again and again while it works.
 */
import { BYTES_PER_UNIT, type UsageCounters } from '@coppice/scaling';

export const PERIOD_MS = 100;
const READ_BYTES_PER_SECOND = 200 * 1024 * 1024;

/** What the clients of a compute want of it at a moment. */
export interface Wants {
  readonly cpus: number;
  readonly heldBytes: number;
  readonly cacheBytes: number;
}

export class SimCompute {
  #counters: UsageCounters = {
    atMs: 0,
    cpuSeconds: 0,
    periods: 0,
    throttledPeriods: 0,
    throttledSeconds: 0,
    heldBytes: 0,
    refaultedBytes: 0,
  };
  #savedSeconds = 0;

  get counters(): UsageCounters {
    return this.#counters;
  }

  /** One period passes at this size. */
  run(units: number, wants: Wants): void {
    const share = (units * PERIOD_MS) / 1000;
    const wanted = (wants.cpus * PERIOD_MS) / 1000;
    const got = Math.min(wanted, share + this.#savedSeconds);
    this.#savedSeconds = Math.min(share, share + this.#savedSeconds - got);
    const isShort =
      wants.cacheBytes > 0 && wants.heldBytes + wants.cacheBytes > units * BYTES_PER_UNIT && wants.cpus > 0;
    const c = this.#counters;
    this.#counters = {
      atMs: c.atMs + PERIOD_MS,
      cpuSeconds: c.cpuSeconds + got,
      periods: c.periods + (wanted > 0 ? 1 : 0),
      throttledPeriods: c.throttledPeriods + (wanted > got ? 1 : 0),
      throttledSeconds: c.throttledSeconds + wanted - got,
      heldBytes: wants.heldBytes,
      refaultedBytes: c.refaultedBytes + (isShort ? (READ_BYTES_PER_SECOND * PERIOD_MS) / 1000 : 0),
    };
  }
}
