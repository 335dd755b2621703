/** Tells what stays different from what was only on its way: each look is told here. */
import { type Difference, patienceFor } from './difference';

export interface Verdict {
  /** Seen in every look for long enough. */
  readonly confirmed: readonly Difference[];
  /** Seen in the last look, and not for long enough yet. */
  readonly pending: readonly Difference[];
}

export class Sightings {
  readonly #patienceMs: number;
  #since = new Map<string, number>();

  /** With a patience of 0, kinds of which nothing is ever on its way are believed at once. */
  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs;
  }

  /** A look at `nowMs` found these. What an earlier look found and this one did not was on its way. */
  see(found: readonly Difference[], nowMs: number): Verdict {
    const since = new Map<string, number>();
    const confirmed: Difference[] = [];
    const pending: Difference[] = [];
    for (const d of found) {
      const key = JSON.stringify([d.kind, d.where, d.id]);
      if (since.has(key)) continue;
      const first = this.#since.get(key) ?? nowMs;
      since.set(key, first);
      (nowMs - first >= patienceFor(d.kind, this.#patienceMs) ? confirmed : pending).push(d);
    }
    this.#since = since;
    return { confirmed, pending };
  }
}
