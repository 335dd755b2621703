/** Bytes of requests and answers that all requests together may hold in memory. */
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
    return {
      add: (bytes) => {
        // What ends late, after its request is over, is about to be let go of.
        if (isClosed) return;
        if (this.#held + bytes > this.#maxBytes)
          throw new CoppiceError(
            'Unavailable',
            'proxy-memory',
            'requests and answers under way fill the memory for them',
            {
              remedy: 'Try again shortly.',
            },
          );
        this.#held += bytes;
        own += bytes;
      },
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
  close(): void;
}
