/** The server of the HTTP port: HTTP/1.1 with and without TLS, HTTP/2 with it, on one address; every request to the one handler. */
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createHttp2Server, type ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Tls } from '../tls/certificate';
import { unreadable } from './plain-answer';
import { ProtocolSwitch } from './protocol-switch';

export interface WebServerOptions {
  readonly maxConnections: number;
  /** Plain HTTP from other machines. */
  readonly allowPlain: boolean;
  /** Time for a client to send a whole request, milliseconds. */
  readonly receiveMs: number;
  readonly tls: () => Tls | undefined;
  /** A request to upgrade to a WebSocket. */
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
}

const MAX_HEADER_BYTES = 16 * 1024;
/** Longer than those of load balancers, which must not meet a connection that is just being closed. */
const KEEP_ALIVE_MS = 75_000;
const HANDSHAKE_MS = 15_000;
const CHECK_EVERY_MS = 2_000;
const MAX_STREAMS = 100;
/** Of one HTTP/2 connection, megabytes. */
const MAX_SESSION_MEMORY = 4;

export interface WebServer {
  readonly server: Server;
  /** Cuts all connections off, WebSockets as well. */
  readonly closeAll: () => void;
}

export function webServer(handler: RequestListener, options: WebServerOptions): WebServer {
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      keepAliveTimeout: KEEP_ALIVE_MS,
      headersTimeout: options.receiveMs,
      requestTimeout: options.receiveMs,
      connectionsCheckingInterval: CHECK_EVERY_MS,
      noDelay: true,
    },
    handler,
  );
  server.on('upgrade', options.upgrade);
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
    socket.end(unreadable(error.code), () => socket.destroy());
  });
  const http2 = createHttp2Server(
    {
      maxSessionMemory: MAX_SESSION_MEMORY,
      settings: { maxConcurrentStreams: MAX_STREAMS },
    },
    handler as unknown as Parameters<typeof createHttp2Server>[1],
  );
  http2.on('session', (session: ServerHttp2Session) =>
    session.setTimeout(KEEP_ALIVE_MS, () => session.close()),
  );
  http2.on('sessionError', (_: Error, session: ServerHttp2Session) => session.destroy());

  // The server's own way with a connection comes after the switch; it still keeps count of them, for its timeouts.
  const [serveHttp1] = server.listeners('connection') as ((socket: Socket) => void)[];
  server.removeAllListeners('connection');
  const connections = new ProtocolSwitch({
    ...options,
    handshakeMs: HANDSHAKE_MS,
    http1: (socket) => serveHttp1!.call(server, socket),
    http2: (socket) => void http2.emit('connection', socket),
  });
  server.on('connection', (socket: Socket) => connections.accept(socket));
  return { server, closeAll: () => connections.closeAll() };
}
