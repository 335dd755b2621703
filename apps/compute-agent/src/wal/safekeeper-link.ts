import type { AcceptorMessage, ProposerMessage } from '@coppice/consensus';
import type { MessageStream } from '@coppice/contracts';
import { type Clock, type Log, asCoppiceError } from '@coppice/service-kit';
import type { NodeId } from '@coppice/vocabulary';
import type { SafekeeperPort } from './safekeeper-port';

const FIRST_BACKOFF_MS = 20;
const LONGEST_BACKOFF_MS = 2_000;

export interface LinkEvents {
  readonly onConnected: (node: NodeId) => void;
  readonly onMessage: (node: NodeId, message: AcceptorMessage) => void;
  readonly onDisconnected: (node: NodeId) => void;
  /** The stream's buffer has room again. */
  readonly onRoom: (node: NodeId) => void;
}

export interface LinkOptions {
  readonly safekeeper: SafekeeperPort;
  readonly events: LinkEvents;
  readonly clock: Clock;
  readonly log: Log;
}

/** Keeps one stream to one safekeeper open, with back-off, and drops messages of streams that are gone. */
export class SafekeeperLink {
  readonly node: NodeId;
  readonly #options: LinkOptions;
  readonly #stop = new AbortController();
  #stream: MessageStream<ProposerMessage, AcceptorMessage> | undefined;
  #full = false;
  #backoffMs = FIRST_BACKOFF_MS;
  #running: Promise<void> | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.node = options.safekeeper.node;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Whether a message may be sent now: a stream is open and its buffer has room. */
  get hasRoom(): boolean {
    return this.#stream !== undefined && !this.#full;
  }

  /** Sends on the open stream; without one the message is dropped, as it would be on a stream that breaks. */
  send(message: ProposerMessage): void {
    const stream = this.#stream;
    if (!stream || stream.send(message) || this.#full) return;
    this.#full = true;
    void stream.drained().then(() => {
      if (this.#stream !== stream) return;
      this.#full = false;
      this.#options.events.onRoom(this.node);
    });
  }

  /** Ends the stream; a new one is made after the back-off. */
  reconnect(because: string): void {
    this.#stream?.cancel(new Error(because));
  }

  /** Sends what is buffered, ends the stream and stops for good. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#stream?.end();
    await this.#running;
  }

  /** Stops for good, now. */
  abort(): void {
    this.#stop.abort();
    this.#stream?.cancel();
  }

  async #run(): Promise<void> {
    const { safekeeper, events, clock, log } = this.#options;
    while (!this.#stop.signal.aborted) {
      const stream = safekeeper.open();
      this.#stream = stream;
      this.#full = false;
      stream.onMessage((message) => {
        if (this.#stream !== stream) return;
        this.#backoffMs = FIRST_BACKOFF_MS;
        events.onMessage(this.node, message);
      });
      events.onConnected(this.node);
      const why = await stream.closed.then(
        () => 'it ended the stream',
        (error: unknown) => asCoppiceError(error).message,
      );
      this.#stream = undefined;
      events.onDisconnected(this.node);
      if (this.#stop.signal.aborted) return;
      log.debug({ safekeeper: this.node, why, backoffMs: this.#backoffMs }, 'safekeeper stream ends');
      await clock.sleep(this.#backoffMs, this.#stop.signal).catch(() => undefined);
      this.#backoffMs = Math.min(LONGEST_BACKOFF_MS, this.#backoffMs * 2);
    }
  }
}
