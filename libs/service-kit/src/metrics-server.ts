/**
 * Where a service shows what it counts and that it lives: plain HTTP on an address of its own, beside what it serves. The same part
 * in every service, the first to start and the last to stop, so that a start or a stop that hangs can be looked at.
 *
 *   GET /metrics   everything in prom-client's register, as Prometheus text; asks for the token where there is one
 *   GET /healthz   200 as long as the event loop turns
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { collectDefaultMetrics, register } from 'prom-client';
import { configTable, type Setting } from './config';
import { cannotListen } from './errors';
import type { Log } from './log';
import type { Part } from './run-service';

/** Scrapers are few; whoever holds more connections than these cannot cost the service its file descriptors. */
const MAX_CONNECTIONS = 32;
const MAX_HEADER_BYTES = 8 * 1024;
/** For a client to send its request, and for one that is silent, milliseconds. */
const PATIENCE_MS = 5_000;
const CHECK_EVERY_MS = 1_000;
/** Finer, the timers of many idle services add up. */
const LAG_PRECISION_MS = 50;

/** Settings of the part; every service has a default port of its own, so that all can run on one machine. */
export function metricsConfig(defaultPort: number): {
  readonly metricsHost: Setting<'string'>;
  readonly metricsPort: Setting<'integer'>;
  readonly metricsToken: Setting<'secret'>;
} {
  return configTable({
    metricsHost: {
      env: 'COPPICE_METRICS_HOST',
      type: 'string',
      default: '127.0.0.1',
      about: 'Address to listen on for /metrics and /healthz.',
    },
    metricsPort: {
      env: 'COPPICE_METRICS_PORT',
      type: 'integer',
      min: 0,
      max: 65_535,
      default: defaultPort,
      about: 'Port for /metrics and /healthz; 0 picks one.',
    },
    metricsToken: {
      env: 'COPPICE_METRICS_TOKEN',
      type: 'secret',
      default: '',
      about: 'Bearer token that /metrics asks for; empty: whoever reaches the address reads them.',
    },
  });
}

export interface MetricsServerOptions {
  readonly metricsHost: string;
  /** 0: any. */
  readonly metricsPort: number;
  /** Asked for by /metrics; empty: nothing is. */
  readonly metricsToken: string;
  readonly log: Log;
  /** Beyond them, connections are closed at once. */
  readonly maxConnections?: number;
  /** Time for a client to send its request, and for it to stay silent, milliseconds. */
  readonly patienceMs?: number;
}

export interface MetricsServer extends Part {
  /** Where it listens, `http://host:port`, once started. */
  readonly address: string;
}

/** The part; its start fails with `cannot-listen` when the address cannot be had. */
export function metricsServer(options: MetricsServerOptions): MetricsServer {
  const { metricsHost: host, metricsPort: port, metricsToken: token, log } = options;
  const server = boundedServer(options, (request, response) => {
    answer(request, response, token).catch((error: unknown) => {
      log.error({ err: error }, 'metrics cannot be read');
      say(response, 500, 'the metrics cannot be read; the log says why');
    });
  });
  let address = '';
  return {
    name: `metrics ${host}:${port}`,
    get address() {
      return address;
    },
    start: async () => {
      await new Promise<void>((resolve, reject) => {
        server.once('error', (error) => reject(cannotListen(`${host}:${port}`, error)));
        server.listen(port, host, resolve);
      });
      address = `http://${host.includes(':') ? `[${host}]` : host}:${(server.address() as AddressInfo).port}`;
      collectProcessMetrics();
      log.info({ address }, 'shows metrics');
    },
    stop: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

function boundedServer(
  { maxConnections = MAX_CONNECTIONS, patienceMs = PATIENCE_MS }: MetricsServerOptions,
  handler: (request: IncomingMessage, response: ServerResponse) => void,
): Server {
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: patienceMs,
      requestTimeout: patienceMs,
      keepAliveTimeout: patienceMs,
      connectionsCheckingInterval: Math.min(CHECK_EVERY_MS, patienceMs),
    },
    handler,
  );
  server.maxConnections = maxConnections;
  server.timeout = patienceMs;
  return server;
}

async function answer(request: IncomingMessage, response: ServerResponse, token: string): Promise<void> {
  const { method, url = '' } = request;
  if (method !== 'GET' && method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    return say(response, 405, `${method} is not answered here: ask with GET`);
  }
  switch (url.split('?', 1)[0]) {
    case '/metrics':
      if (token !== '' && !isSame(request.headers.authorization ?? '', `Bearer ${token}`)) {
        response.setHeader('www-authenticate', 'Bearer');
        return say(response, 401, 'send COPPICE_METRICS_TOKEN as the bearer token');
      }
      return say(response, 200, await register.metrics(), register.contentType);
    case '/healthz':
      return say(response, 200, 'ok');
    default:
      return say(response, 404, 'there are /metrics and /healthz here');
  }
}

/** In a time that tells nothing of where they differ. */
function isSame(given: string, wanted: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(wanted));
}

function say(
  response: ServerResponse,
  status: number,
  text: string,
  type = 'text/plain; charset=utf-8',
): void {
  const body = text.endsWith('\n') ? text : `${text}\n`;
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) }).end(body);
}

/** What Node and the system know of this process: memory, CPU, open files, lag of the event loop. Once in a process. */
function collectProcessMetrics(): void {
  if (register.getSingleMetric('process_resident_memory_bytes') !== undefined) return;
  collectDefaultMetrics({ eventLoopMonitoringPrecision: LAG_PRECISION_MS });
}
