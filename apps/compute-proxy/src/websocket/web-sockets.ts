/**
 * Postgres sessions over WebSockets, on any path. Binary frames carry the protocol cut anywhere; there is no sub-protocol. A client
 * that does not even answer a ping is taken to be gone.
 */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, type WebSocket, WebSocketServer } from 'ws';
import { after, Gauge } from '@coppice/service-kit';
import type { ByteBudget } from '../http/byte-budget';
import type { Arrival } from '../first-packets';

const open = new Gauge({
  name: 'coppice_proxy_websockets',
  help: 'WebSocket connections that are open.',
});

export interface WebSocketsOptions {
  /** Longest message; a message is held until it is whole. */
  readonly maxFrameBytes: number;
  /** For messages that are not whole, or not passed on. */
  readonly budget: ByteBudget;
  readonly pingEveryMs?: number;
  readonly serve: (stream: Duplex, arrival: Arrival) => Promise<void>;
}

export type UpgradeListener = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

const PING_EVERY_MS = 30_000;
/** Of a session, not counted: as much as any connection may have in its buffers. Before a login all is counted. */
const UNCOUNTED_BYTES = 16 * 1024;
const UNSUPPORTED_DATA = 1003;

export function webSockets(options: WebSocketsOptions): UpgradeListener {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    skipUTF8Validation: true,
    maxPayload: options.maxFrameBytes,
  });
  server.on('wsClientError', (_, socket) => socket.destroy());
  return (request, socket, head) => {
    server.handleUpgrade(request, socket, head, (ws) => serve(ws, socket as Socket, request, options));
  };
}

function serve(ws: WebSocket, socket: Socket, request: IncomingMessage, options: WebSocketsOptions): void {
  open.inc();
  ws.once('close', () => open.dec());
  const stream = createWebSocketStream(ws);
  stream.on('error', () => stream.destroy());
  ws.on('message', (_, isBinary) => {
    if (isBinary) return;
    ws.close(UNSUPPORTED_DATA, 'binary messages only');
    stream.destroy();
  });
  keepAsking(ws, socket, options.pingEveryMs ?? PING_EVERY_MS);
  const host = request.headers.host?.replace(/:\d+$/, '');
  void options.serve(stream, {
    host,
    address: socket.remoteAddress ?? '',
    loggedIn: countHeld(ws, socket, stream, options.budget),
  });
}

/**
 * Counts against the budget what is held of what came in: a message until it is whole, whoever sends it, and one that is until
 * it is passed on. Who is one too many is cut off. To be called after a login.
 */
function countHeld(ws: WebSocket, socket: Socket, stream: Duplex, budget: ByteBudget): () => void {
  const account = budget.open();
  let unfinished = 0;
  let uncounted = 0;
  const count = (): void => {
    try {
      account.hold(Math.max(0, unfinished + stream.readableLength - uncounted));
    } catch {
      ws.terminate();
    }
  };
  // Before the message that it may complete.
  socket.prependListener('data', (chunk: Buffer) => {
    unfinished += chunk.length;
    count();
  });
  ws.on('message', () => {
    unfinished = 0;
    count();
  });
  const read = stream._read.bind(stream);
  stream._read = (size) => {
    read(size);
    // What is being read is still in the buffer.
    queueMicrotask(count);
  };
  socket.once('close', () => account.close());
  return () => {
    uncounted = UNCOUNTED_BYTES;
    count();
  };
}

/** Ends a connection on which nothing moved between two pings. While either side does not read, that says nothing: TCP will tell. */
function keepAsking(ws: WebSocket, socket: Socket, everyMs: number): void {
  let cancel = (): void => undefined;
  let moved = 0;
  const ask = (): void => {
    const now = socket.bytesRead + socket.bytesWritten - socket.writableLength;
    if (now === moved && socket.writableLength === 0 && !ws.isPaused) return ws.terminate();
    moved = now;
    // Its own bytes must not count as movement.
    ws.ping(() => (moved = socket.bytesRead + socket.bytesWritten - socket.writableLength));
    cancel = after(everyMs, ask);
  };
  cancel = after(everyMs, ask);
  ws.once('close', () => cancel());
}
