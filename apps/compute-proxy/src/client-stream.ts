/** A client's connection while we speak to it: buffered reads of whole packets, with a deadline; then handed to the splice. */
import type { Duplex } from 'node:stream';
import { after, CoppiceError } from '@coppice/service-kit';

export class ClientStream {
  socket: Duplex;
  #buffered: Buffer = Buffer.alloc(0);
  readonly #signal: AbortSignal;

  constructor(socket: Duplex, signal: AbortSignal) {
    this.socket = socket;
    this.#signal = signal;
    socket.pause();
  }

  /** Reads until `parse` finds something at the front of what came; consumes exactly that. */
  async read<T>(parse: (bytes: Buffer) => ({ readonly length: number } & T) | undefined): Promise<T> {
    for (;;) {
      const found = parse(this.#buffered);
      if (found) {
        this.#buffered = this.#buffered.subarray(found.length);
        return found;
      }
      const chunk = await this.#more();
      this.#buffered = this.#buffered.length === 0 ? chunk : Buffer.concat([this.#buffered, chunk]);
    }
  }

  /** Bytes that came and were not consumed. */
  takeBuffered(): Buffer {
    const rest = this.#buffered;
    this.#buffered = Buffer.alloc(0);
    return rest;
  }

  async #more(): Promise<Buffer> {
    const { socket } = this;
    const signal = this.#signal;
    signal.throwIfAborted();
    const ready = socket.read() as Buffer | null;
    if (ready) return ready;
    return new Promise<Buffer>((resolve, reject) => {
      const settle = (act: () => void): void => {
        socket.off('readable', onReadable).off('end', onEnd).off('error', onEnd).off('close', onEnd);
        signal.removeEventListener('abort', onAbort);
        act();
      };
      const onReadable = (): void => {
        const chunk = socket.read() as Buffer | null;
        if (chunk) settle(() => resolve(chunk));
      };
      const onEnd = (): void => settle(() => reject(new ClientGone()));
      const onAbort = (): void => settle(() => reject(signal.reason));
      socket.on('readable', onReadable).on('end', onEnd).on('error', onEnd).on('close', onEnd);
      signal.addEventListener('abort', onAbort, { once: true });
      if (socket.destroyed || socket.readableEnded) onEnd();
    });
  }

  write(bytes: Buffer): void {
    if (!this.socket.destroyed) this.socket.write(bytes);
  }

  /** Resolves with `event` of the socket; rejects when the client goes, or the deadline comes, before. */
  async until(event: string): Promise<void> {
    const { socket } = this;
    const signal = this.#signal;
    signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const settle = (act: () => void): void => {
        socket.off(event, onEvent).off('error', onGone).off('close', onGone);
        signal.removeEventListener('abort', onAbort);
        act();
      };
      const onEvent = (): void => settle(resolve);
      const onGone = (): void => settle(() => reject(new ClientGone()));
      const onAbort = (): void => settle(() => reject(signal.reason));
      socket.on(event, onEvent).on('error', onGone).on('close', onGone);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Sends what was written and closes; a client that does not take it is cut off. */
  end(): void {
    endSoon(this.socket);
  }
}

/** Time for a client to take our last words, milliseconds. */
const LAST_WORDS_MS = 2_000;

/** Sends `last` and closes, within a deadline: a client that reads nothing must not hold the connection. */
export function endSoon(socket: Duplex, last?: Buffer): void {
  socket.on('error', () => socket.destroy());
  const cancel = after(LAST_WORDS_MS, () => socket.destroy());
  socket.once('close', cancel);
  const done = (): void => void socket.destroy();
  if (last) socket.end(last, done);
  else socket.end(done);
}

/** The client went away; there is nobody to tell. */
export class ClientGone extends Error {
  constructor() {
    super('the client went away');
  }
}

export const LOGIN_TOO_SLOW = new CoppiceError(
  'Unavailable',
  'login-timeout',
  'the login was not completed in time',
  {
    remedy: 'Connect again; send the startup packet and the password without delay.',
  },
);
