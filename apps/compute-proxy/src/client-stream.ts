/** A client's socket while we speak to it: buffered reads of whole packets, with a deadline; then handed to the splice. */
import type { Socket } from 'node:net';
import { CoppiceError } from '@coppice/service-kit';

export class ClientStream {
  socket: Socket;
  #buffered: Buffer = Buffer.alloc(0);
  readonly #signal: AbortSignal;

  constructor(socket: Socket, signal: AbortSignal) {
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
