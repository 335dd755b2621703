/** The HTTP side: request ids, JSON bodies, error bodies and documentation, the same for every route. */
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import { type Clock, CoppiceError, type Log, type Part, type Random } from '@coppice/service-kit';
import { serveDocs } from './docs';
import { openApiDocument } from './openapi';
import { PREFIX, serveRoute } from './rest/serve-route';
import { MAX_BODY_BYTES, restError, unreadable } from './rest/errors';
import type { ControlClient, FleetClient } from './rest/route';
import { ROUTES } from './rest/routes';

const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/;
const MAX_URL_BYTES = 8192;
/** Time for a client to send a whole request, milliseconds. */
const RECEIVE_MS = 30_000;

export interface GatewayOptions {
  readonly control: ControlClient;
  readonly fleet: FleetClient;
  readonly log: Log;
  readonly random: Random;
  readonly clock: Clock;
}

/** The gateway without a port: `listen` it, or `inject` requests in tests. */
export function buildGateway({ control, fleet, log, random, clock }: GatewayOptions): FastifyInstance {
  const newId = (): string => random.bytes(16).toString('hex');
  const answerError = (error: unknown, request: { id: string }, reply: FastifyReply): void => {
    const shown = restError(error);
    if (shown.status >= 500)
      log[shown.status === 503 ? 'warn' : 'error'](
        { err: error, requestId: request.id, code: shown.code },
        'request fails',
      );
    if (shown.retryable) void reply.header('retry-after', '1');
    void reply
      .code(shown.status)
      .header('x-request-id', request.id)
      .send({ request_id: request.id, code: shown.code, message: shown.message });
  };

  const app = Fastify({
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: RECEIVE_MS,
    routerOptions: { maxParamLength: MAX_URL_BYTES },
    logger: false,
    genReqId: (raw) => {
      const given = raw.headers['x-request-id'];
      return typeof given === 'string' && REQUEST_ID.test(given) ? given : newId();
    },
    frameworkErrors: (error, request, reply) => answerError(error, request, reply),
    return503OnClosing: true,
    clientErrorHandler: (error, socket) => {
      if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
      socket.end(unreadable(error.code, newId()));
    },
  });
  app.removeAllContentTypeParsers();
  // Whatever the content type says: `curl -d` sends JSON as a form.
  app.addContentTypeParser('*', { parseAs: 'string' }, (_, body, done) => {
    if (body === '') return done(null, undefined);
    try {
      done(null, JSON.parse(body as string));
    } catch (error) {
      done(
        new CoppiceError('Malformed', 'bad-json', 'the request body is not JSON', {
          remedy: 'Send one JSON object.',
          cause: error,
        }),
      );
    }
  });
  app.setErrorHandler((error, request, reply) => answerError(error, request, reply));
  app.setNotFoundHandler((request, reply) => {
    const error = new CoppiceError(
      'NotFound',
      'route-not-found',
      `there is no ${request.method} ${request.url.slice(0, 200)}`,
      { remedy: `See ${PREFIX}/openapi.json.` },
    );
    answerError(error, request, reply);
  });
  app.addHook('onSend', async (request, reply) => void reply.header('x-request-id', request.id));

  const document = openApiDocument(ROUTES);
  app.get(`${PREFIX}/openapi.json`, () => document);
  serveDocs(app, `${PREFIX}/docs`, `${PREFIX}/openapi.json`);
  app.get('/healthz', () => ({ status: 'ok' }));
  app.get('/readyz', async (_, reply) => {
    const { ready, waitingFor } = await control.getReadiness({});
    return reply
      .code(ready ? 200 : 503)
      .send(ready ? { status: 'ready' } : { status: 'waiting', waiting_for: waitingFor });
  });
  for (const route of ROUTES) serveRoute(app, route, { control, fleet, clock });
  return app;
}

/** Listens on start; on stop lets requests under way finish. */
export function gatewayPart(
  app: FastifyInstance,
  where: { readonly host: string; readonly port: number },
  log: Log,
): Part {
  return {
    name: 'http',
    start: async () => {
      const address = await app.listen(where);
      log.info({ address }, 'listens');
    },
    stop: () => app.close(),
  };
}
