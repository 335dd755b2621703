/** The HTTP side of the proxy: `/sql` for queries and batches, WebSockets for sessions; all else is refused. */
import type { RequestListener } from 'node:http';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import {
  anySignal,
  cannotListen,
  type Clock,
  CoppiceError,
  Counter,
  Histogram,
  type Log,
  type Part,
  type Random,
} from '@coppice/service-kit';
import type { SqlAnswer, SqlCall } from './answer-sql';
import type { ByteBudget } from './byte-budget';
import { errorAnswer } from './sql-errors';
import { type WebServer, webServer, type WebServerOptions } from './web-server';

const answered = new Counter({
  name: 'coppice_proxy_sql_requests_total',
  help: 'Requests to /sql by the status of their answer.',
  labelNames: ['status'],
});
const took = new Histogram({
  name: 'coppice_proxy_sql_request_seconds',
  help: 'Time from the head of a request to /sql to the end of its answer.',
  buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30],
});

export interface HttpPartOptions extends WebServerOptions {
  readonly host: string;
  readonly port: number;
  readonly budget: ByteBudget;
  readonly sql: (call: SqlCall) => Promise<SqlAnswer>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const ALLOWED_HEADERS = [
  'Authorization',
  'Neon-Connection-String',
  'Neon-Raw-Text-Output',
  'Neon-Array-Mode',
  'Neon-Pool-Opt-In',
  'Neon-Batch-Read-Only',
  'Neon-Batch-Isolation-Level',
  'Neon-Batch-Deferrable',
];
/** Without a byte of its answer taken, a client is cut off. */
const TAKE_MS = 60_000;
/** For requests under way to be answered once the proxy stops. */
const LAST_ANSWERS_MS = 1_000;

export function httpPart(options: HttpPartOptions): Part {
  const { host, port, clock, log } = options;
  const stop = new AbortController();
  const under = new Set<Promise<void>>();
  let web: WebServer;
  const app = buildApp(options, {
    stop: stop.signal,
    under,
    serve: (handler) => {
      web = webServer(handler, options);
      return web.server;
    },
  });
  return {
    name: `http ${host}:${port}`,
    start: async () => {
      try {
        await app.listen({ host, port });
      } catch (error) {
        throw cannotListen(`${host}:${port}`, error as Error);
      }
      log.info({ host, port }, 'listens for HTTP');
    },
    stop: async () => {
      stop.abort(
        new CoppiceError('Unavailable', 'shutting-down', 'the proxy is shutting down', {
          remedy: 'Connect again.',
        }),
      );
      await Promise.race([Promise.allSettled(under), clock.sleep(LAST_ANSWERS_MS)]);
      web.closeAll();
      await app.close();
    },
  };
}

interface AppParts {
  readonly stop: AbortSignal;
  /** Requests that are being answered. */
  readonly under: Set<Promise<void>>;
  readonly serve: (handler: RequestListener) => WebServer['server'];
}

function buildApp(options: HttpPartOptions, { stop, under, serve }: AppParts): FastifyInstance {
  const { random, log } = options;
  const app = Fastify({
    logger: false,
    serverFactory: serve,
    genReqId: () => uuid(random.bytes(16)),
    frameworkErrors: (_, __, reply) => refuseRoute(reply),
  });
  app.removeAllContentTypeParsers();
  // The body is read once its sender has shown a password, as JSON whatever it says it is: `fetch` calls a string plain text.
  app.addContentTypeParser('*', (_, payload, done) => done(null, payload));
  app.addHook('onRequest', async (request, reply) => {
    // Some do not even have the form of one.
    delete request.raw.headers['content-type'];
    reply.header('access-control-allow-origin', '*').header('neon-request-id', request.id);
  });
  app.addHook('onResponse', async (_, reply) => {
    answered.inc({ status: reply.statusCode });
    took.observe(reply.elapsedTime / 1000);
  });
  app.setErrorHandler((error, request, reply) => answerError(error, request, reply, log));
  app.setNotFoundHandler((_, reply) => refuseRoute(reply));
  app.options('/sql', (_, reply) =>
    reply
      .code(200)
      .headers({
        allow: 'OPTIONS, POST',
        'access-control-allow-headers': ALLOWED_HEADERS.join(', '),
        'access-control-max-age': '86400',
      })
      .send(),
  );
  app.post('/sql', async (request, reply) => {
    const account = options.budget.open();
    reply.raw.once('close', () => account.close());
    const work = options.sql({
      headers: request.headers,
      body: request.raw,
      from: request.ip,
      account,
      signal: anySignal([gone(reply), stop]),
    });
    track(under, work);
    const { headers, json } = await work;
    reply.raw.setTimeout(TAKE_MS, () => reply.raw.destroy());
    return reply.headers(headers).type('application/json').send(json);
  });
  return app;
}

/** Fires when the client goes before it has its answer. */
function gone(reply: FastifyReply): AbortSignal {
  const away = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableEnded) away.abort(new Error('the client went away'));
  });
  return away.signal;
}

function track(under: Set<Promise<void>>, work: Promise<unknown>): void {
  const done: Promise<void> = work.then(
    () => void under.delete(done),
    () => void under.delete(done),
  );
  under.add(done);
}

function refuseRoute(reply: FastifyReply): FastifyReply {
  return reply
    .code(400)
    .header('access-control-allow-origin', '*')
    .type('application/json')
    .send('"query is not supported"');
}

function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply, log: Log): FastifyReply {
  const { status, body } = errorAnswer(error);
  if (status === 500) log.error({ err: error, requestId: request.id }, 'a request to /sql fails');
  return reply.code(status).type('application/json').send(JSON.stringify(body));
}

/** A random UUID (RFC 9562, version 4) of 16 random bytes. */
function uuid(bytes: Buffer): string {
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
