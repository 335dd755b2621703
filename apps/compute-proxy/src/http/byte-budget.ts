/** Bytes that all requests, answers and WebSocket messages together may hold in memory. */
import { CoppiceError } from '@coppice/service-kit';

export class ByteBudget {
  readonly #maxBytes: number;
  #held = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get held(): number {
    return this.#held;
  }

  /** What one request holds; closed when it is over. */
  open(): ByteAccount {
    let own = 0;
    let isClosed = false;
    const add = (bytes: number): void => {
      // What ends late, after its request is over, is about to be let go of.
      if (isClosed) return;
      if (bytes > 0 && this.#held + bytes > this.#maxBytes)
        throw new CoppiceError(
          'Unavailable',
          'proxy-memory',
          'requests, answers and messages under way fill the memory for them',
          {
            remedy: 'Try again shortly.',
          },
        );
      this.#held += bytes;
      own += bytes;
    };
    return {
      add,
      hold: (bytes) => add(bytes - own),
      close: () => {
        this.#held -= own;
        own = 0;
        isClosed = true;
      },
    };
  }
}

export interface ByteAccount {
  /** Throws when the budget is used up. */
  add(bytes: number): void;
  /** So much in all from now on. Throws when the budget is used up. */
  hold(bytes: number): void;
  close(): void;
}
