/**
 * A connection read without streams. Node allocates 64 KiB for every read of an ordinary socket and passes the chunk through two
 * queues; for the few hundred bytes of a query that costs more than the system calls do. Here every read goes into one buffer of
 * the process, and straight on to who takes it.
 *
 * Node offers such reading only to a socket that is made with it (`onread`), and ours are made long before it is known that their
 * bytes will only be passed on. So the kernel's socket changes hands: the new `Socket` gets the handle of the old one, as happens
 * when a socket is sent to another process. The old one stays as its front: it closes when the new one does, and the other way
 * round.
 */
import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net';
import { TLSSocket } from 'node:tls';

const READ_BYTES = 64 * 1024;
/** Of all direct sockets: what was read is taken, or copied, before the next read. */
const readBuffer = Buffer.allocUnsafeSlow(READ_BYTES);

interface Handle {
  reading: boolean;
  readStop(): number;
}

/** Whether the connection can be taken over: not TLS, still open, and nothing that was written waits in it. */
export function canTakeOver(socket: Socket): boolean {
  return (
    !(socket instanceof TLSSocket) &&
    !socket.destroyed &&
    !socket.connecting &&
    socket.writable &&
    socket.writableLength === 0 &&
    handleOf(socket) !== null
  );
}

/**
 * Makes `socket`'s connection a direct one. `take` gets each chunk, its own to keep; when it answers false reading stops until
 * `resume()`. Bytes that `socket` has read already are its first chunks, from within the call of `start`.
 */
export function takeOver(
  socket: Socket,
  take: (chunk: Buffer) => boolean,
): { readonly socket: Socket; start(): void } {
  const handle = handleOf(socket)!;
  handle.reading = false;
  handle.readStop();
  (socket as unknown as { _handle: Handle | null })._handle = null;
  const early = socket.read() as Buffer | null;
  const options: SocketConstructorOpts & { handle: Handle; pauseOnCreate: boolean; onread: OnReadOpts } = {
    handle,
    allowHalfOpen: true,
    pauseOnCreate: true,
    onread: {
      buffer: readBuffer,
      callback: (length) => {
        const chunk = Buffer.allocUnsafe(length);
        readBuffer.copy(chunk, 0, 0, length);
        return take(chunk);
      },
    },
  };
  const direct = new Socket(options);
  direct.once('close', () => socket.destroy());
  socket.once('close', () => direct.destroy());
  return {
    socket: direct,
    start: () => {
      if (early === null || take(early)) direct.resume();
    },
  };
}

function handleOf(socket: Socket): Handle | null {
  return (socket as unknown as { _handle: Handle | null })._handle;
}
