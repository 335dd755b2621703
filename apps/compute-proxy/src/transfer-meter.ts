/**
 * Bytes between clients and computes, per endpoint, told to the control-plane now and then and at the stop. What cannot be told is
 * told with the next report; bytes of a proxy that is killed are lost to the accounts, at most those of one pause.
 */
import { BackgroundLoop, type Log, part, type Part } from '@coppice/service-kit';

const TELL_EVERY_MS = 10_000;
/** Endpoints in one report. */
const BATCH = 1_000;

export interface Transfer {
  readonly endpointId: string;
  readonly bytes: number;
}

/** The counters of a socket: all bytes since it was opened. */
export interface Counted {
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

interface Session {
  readonly endpointId: string;
  readonly socket: Counted;
  told: number;
}

export class TransferMeter {
  readonly #tell: (transfers: readonly Transfer[], signal?: AbortSignal) => Promise<unknown>;
  readonly #sessions = new Set<Session>();
  readonly #loop: BackgroundLoop;
  #pending = new Map<string, number>();

  constructor(options: {
    readonly tell: (transfers: readonly Transfer[], signal?: AbortSignal) => Promise<unknown>;
    readonly log: Log;
  }) {
    this.#tell = options.tell;
    this.#loop = new BackgroundLoop({
      name: 'tell-transferred-bytes',
      everyMs: TELL_EVERY_MS,
      log: options.log,
      run: (signal) => this.tell(signal),
    });
  }

  /** Counts what passes through a compute's socket until the answer is called. */
  add(endpointId: string, socket: Counted): () => void {
    const session: Session = { endpointId, socket, told: 0 };
    this.#sessions.add(session);
    return () => {
      this.#take(session);
      this.#sessions.delete(session);
    };
  }

  /** One report of everything since the last. */
  async tell(signal?: AbortSignal): Promise<void> {
    for (const session of this.#sessions) this.#take(session);
    for (;;) {
      const batch = [...this.#pending].slice(0, BATCH);
      if (batch.length === 0) return;
      await this.#tell(
        batch.map(([endpointId, bytes]) => ({ endpointId, bytes })),
        signal,
      );
      for (const [endpointId, bytes] of batch) {
        const left = (this.#pending.get(endpointId) ?? 0) - bytes;
        if (left > 0) this.#pending.set(endpointId, left);
        else this.#pending.delete(endpointId);
      }
    }
  }

  #take(session: Session): void {
    const total = session.socket.bytesRead + session.socket.bytesWritten;
    const more = total - session.told;
    session.told = total;
    if (more > 0) this.#pending.set(session.endpointId, (this.#pending.get(session.endpointId) ?? 0) + more);
  }

  asPart(): Part {
    return part(
      'transfer meter',
      () => this.#loop.start(),
      async () => {
        await this.#loop.stop();
        await this.tell().catch(() => undefined);
      },
    );
  }
}
