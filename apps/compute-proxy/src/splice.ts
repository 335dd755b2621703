import type { Socket } from 'node:net';
import { after } from '@coppice/service-kit';
import { canTakeOver, takeOver } from './direct-socket';
import type { FirstExchange } from './start-phases';
import type { Counted } from './transfer-meter';

/** For a client to take what its session said last, and to close, milliseconds. */
const LAST_BYTES_MS = 10_000;

export interface Splice {
  /** Resolves when both sides are closed. */
  readonly closed: Promise<void>;
  /** What passed the compute's side. */
  readonly moved: Counted;
}

/** One direction's source: a socket that gives its chunks to somebody, once started. */
interface Source {
  readonly socket: Socket;
  start(): void;
}

/**
 * Passes bytes both ways, unparsed, until both sides have ended or one is broken. A side that does not take what it is sent stops
 * the reading of the other, so that at most one chunk more than a socket's own bound waits here. A client that has said its last
 * word still gets the answers to it. `first`, where somebody wants to know, hears of the first chunks alone.
 */
export function splice(client: Socket, server: Socket, first?: FirstExchange): Splice {
  const toServer: Take = (chunk) => send(fromServer.socket, chunk);
  const toClient: Take = (chunk) => send(fromClient.socket, chunk);
  const fromClient: Source = sourceOf(
    client,
    first ? noting(() => (first.asked(), true), toServer) : toServer,
  );
  const fromServer: Source = sourceOf(server, first ? noting(() => first.answered(), toClient) : toClient);
  const near = fromClient.socket;
  const far = fromServer.socket;
  near.on('drain', () => far.resume()).once('end', () => far.end());
  // A server that ends has nothing to read either: its process is gone.
  far.on('drain', () => near.resume()).once('end', () => far.destroy());
  near.on('error', () => near.destroy()).once('close', () => far.destroy());
  far.on('error', () => far.destroy()).once('close', () => endWithin(near, LAST_BYTES_MS));
  // It may have happened before anybody listened.
  if (near.destroyed) far.destroy();
  else if (far.destroyed) endWithin(near, LAST_BYTES_MS);
  const closed = Promise.all([whenClosed(near), whenClosed(far)]).then(() => undefined);
  fromClient.start();
  fromServer.start();
  return { closed, moved: far };
}

/** Takes a chunk; whether its source may go on. */
type Take = (chunk: Buffer) => boolean;

/** Calls `note` for each chunk until it says that this was enough. */
function noting(note: () => boolean, take: Take): Take {
  let isEnough = false;
  return (chunk) => {
    isEnough ||= note();
    return take(chunk);
  };
}

function send(to: Socket, chunk: Buffer): boolean {
  return to.destroyed || to.write(chunk);
}

function sourceOf(socket: Socket, take: Take): Source {
  if (canTakeOver(socket)) return takeOver(socket, take);
  socket.allowHalfOpen = true;
  return {
    socket,
    start: () => {
      socket.on('data', (chunk: Buffer) => take(chunk) || socket.pause());
      socket.resume();
    },
  };
}

/** Not at once: closing while the client still sends would reset the connection, and take from it what it has not read yet. */
function endWithin(socket: Socket, ms: number): void {
  if (socket.destroyed) return;
  const cancel = after(ms, () => socket.destroy());
  socket.once('close', cancel);
  socket.end();
  socket.resume();
}

function whenClosed(socket: Socket): Promise<void> {
  return new Promise((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve())));
}
