/** When a compute is looked at: rarely while nothing is seen to happen. Before a suspend there is a look in any case. Pure. */

/** The first look opens a session and reads catalogs that nobody else does: a start, and one of many, has better things to do. */
const FIRST_AFTER = 4;
/** So long it may be put off while others start. */
const FIRST_AT_LAST = 12;
const AT_MOST_EVERY = 4;

/** From the start of a compute to the first look, for looks `everyMs` apart at one that is in use. */
export function firstPause(everyMs: number): number {
  return FIRST_AFTER * everyMs;
}

/** From the start of a compute to when its first look gives way no more. */
export function lastFirstLook(everyMs: number): number {
  return FIRST_AT_LAST * everyMs;
}

/** Whether a first look that is due `sinceStartMs` after the start gives way to the starts of others. */
export function givesWay(sinceStartMs: number, everyMs: number): boolean {
  return sinceStartMs < lastFirstLook(everyMs);
}

/** From one look to the next, after a pause of `pauseMs` before it. */
export function nextPause(pauseMs: number, everyMs: number, sawUse: boolean): number {
  return sawUse ? everyMs : Math.max(everyMs, Math.min(2 * pauseMs, AT_MOST_EVERY * everyMs));
}
