/**
 * The messages of one server connection, one by one: for exchanges that we hold ourselves. Reads no further than the reader
 * does: while nobody reads, the backend is held back.
 */
import { type Message, readMessage } from '@coppice/postgres';
import { CoppiceError } from '@coppice/service-kit';
import type { Holder, PooledServer } from './pooled-server';

/** More than this is not taken in ahead of the reader, bytes. */
const AHEAD_BYTES = 256 * 1024;

export class ServerMessages implements Holder {
  readonly #server: PooledServer;
  readonly #maxBytes: number;
  #chunks: Buffer[] = [];
  #size = 0;
  /** Bytes that the next message needs before it is worth a look. */
  #wanted = 5;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;
  #drained: (() => void) | undefined;
  /** The last message read said that the backend awaits a new transaction. */
  isIdle = false;

  /** Takes the server over from whoever held it. A message of more than `maxBytes` ends the exchange. */
  constructor(server: PooledServer, maxBytes: number) {
    this.#server = server;
    this.#maxBytes = maxBytes;
    server.hold(this);
    if (server.isGone) this.#failure = connectionLost();
  }

  /** Resolves when the server takes more. */
  async write(bytes: Buffer, signal?: AbortSignal): Promise<void> {
    if (this.#failure) throw this.#failure;
    this.isIdle = false;
    if (!this.#server.write(bytes)) await this.#until((wake) => (this.#drained = wake), signal);
  }

  /** The next message; its body is valid until it is changed by nobody, it is never reused. */
  async read(signal?: AbortSignal): Promise<Message> {
    for (;;) {
      if (this.#size >= this.#wanted) {
        const message = this.#parse();
        if (message) return message;
      }
      if (this.#failure) throw this.#failure;
      this.#server.resume();
      await this.#until((wake) => (this.#wake = wake), signal);
    }
  }

  /** Whether nothing came that was not read. */
  get isDrained(): boolean {
    return this.#size === 0 && !this.#failure;
  }

  #parse(): Message | undefined {
    const bytes = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks, this.#size);
    const found = readMessage(bytes, this.#maxBytes);
    const rest = found ? bytes.subarray(found.length) : bytes;
    this.#chunks = rest.length > 0 ? [rest] : [];
    this.#size = rest.length;
    this.#wanted = found || bytes.length < 5 ? 5 : 1 + bytes.readUInt32BE(1);
    if (found) this.isIdle = found.message.type === 'Z' && found.message.body[0] === 0x49;
    return found?.message;
  }

  async #until(park: (wake: () => void) => void, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => reject(signal!.reason as Error);
      signal?.addEventListener('abort', onAbort, { once: true });
      park(() => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      });
    });
  }

  onData(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size >= this.#wanted) this.#wakeUp();
    if (this.#size > Math.max(AHEAD_BYTES, this.#wanted)) this.#server.pause();
  }

  onDrain(): void {
    this.#drained?.();
    this.#drained = undefined;
  }

  onClose(): void {
    this.#failure = connectionLost();
    this.#wakeUp();
    this.onDrain();
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}

function connectionLost(): CoppiceError {
  return new CoppiceError('Unavailable', 'compute-gone', 'the compute ended the connection', {
    remedy: 'Try again.',
    sqlstate: '57P01',
  });
}
