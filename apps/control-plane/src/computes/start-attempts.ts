/**
 * How often, and where, a start is tried that an agent refuses or fails: once more, elsewhere; one that nobody could be asked for, as
 * long as its caller waits.
 */
import type { CoppiceError } from '@coppice/service-kit';
import type { NodeId } from '@coppice/vocabulary';

export const MAX_REFUSALS = 2;
const NOBODY_ASKED: ReadonlySet<string> = new Set(['agent-full', 'peer-unavailable']);

export class StartAttempts {
  readonly #failedOn = new Set<NodeId>();
  #refusals = 0;
  /** Its place in the line of starts, once it had a turn. */
  order: number | undefined;
  /** What the last one ended with. */
  last: CoppiceError | undefined;

  /** Whether another attempt is made after this one on `node`. */
  failed(node: NodeId, error: CoppiceError): boolean {
    this.#failedOn.add(node);
    this.last = error;
    return this.wasNobodyAsked || ++this.#refusals < MAX_REFUSALS;
  }

  /** The last failure says only that no agent could be asked. */
  get wasNobodyAsked(): boolean {
    return this.last !== undefined && NOBODY_ASKED.has(this.last.code);
  }

  /** What the line of starts should know of earlier attempts. */
  get forLine(): { readonly failedOn: ReadonlySet<NodeId>; readonly order?: number } {
    return { failedOn: this.#failedOn, ...(this.order === undefined ? {} : { order: this.order }) };
  }
}
