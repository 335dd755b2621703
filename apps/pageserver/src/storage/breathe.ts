import { setImmediate } from 'node:timers/promises';

/** Work on so many bytes holds up others for a few milliseconds. */
const TURN_BYTES = 128 * 1024;
/** What a record or a version costs beside its bytes, in bytes that cost as much. */
const ITEM_BYTES = 64;

/** Tells long work when to breathe, by what it has done: the same work rests in the same places. */
export class Pace {
  #bytes = 0;

  /** Counts an item; true when it is time to breathe. */
  isDue(itemBytes: number): boolean {
    this.#bytes += itemBytes + ITEM_BYTES;
    if (this.#bytes < TURN_BYTES) return false;
    this.#bytes = 0;
    return true;
  }
}

/** Lets waiting IO and timers run before long work goes on. */
export function breathe(): Promise<void> {
  return setImmediate();
}
