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
  /** For what comes from clients that have not logged in. */
  readonly budget: ByteBudget;
  readonly pingEveryMs?: number;
  readonly serve: (stream: Duplex, arrival: Arrival) => Promise<void>;
}

export type UpgradeListener = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

const PING_EVERY_MS = 30_000;
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
    loggedIn: countUntilCalled(ws, socket, options.budget),
  });
}

/** Counts what comes in against the budget until the answer is called: a message is held until it is whole, whoever sends it. */
function countUntilCalled(ws: WebSocket, socket: Socket, budget: ByteBudget): () => void {
  const account = budget.open();
  const onData = (chunk: Buffer): void => {
    try {
      account.add(chunk.length);
    } catch {
      ws.terminate();
    }
  };
  const done = (): void => {
    socket.off('data', onData).off('close', done);
    account.close();
  };
  socket.on('data', onData).once('close', done);
  return done;
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
