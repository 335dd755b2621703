/** The HTTP side: authentication headers, request ids, validation and error bodies, the same for every route. */
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import {
  CoppiceError,
  Histogram,
  type Log,
  metricsRegistry,
  type Part,
  type Random,
} from '@coppice/service-kit';
import type { z } from 'zod';
import { openApiDocument } from './openapi';
import { branchRoutes } from './rest/branches';
import { endpointRoutes } from './rest/endpoints';
import { invalidRequest, MAX_BODY_BYTES, restError } from './rest/errors';
import { operationRoutes } from './rest/operations';
import { projectRoutes } from './rest/projects';
import type { ControlClient, Route } from './rest/route';

const PREFIX = '/api/v2';
const BEARER = /^Bearer +[\x21-\x7e]{1,512}$/i;
const HEADER_TEXT = /^[\x20-\x7e]{1,255}$/;
const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/;
const MAX_URL_BYTES = 8192;
/** Time for a client to send a whole request, milliseconds. */
const RECEIVE_MS = 30_000;

const requestSeconds = new Histogram({
  name: 'coppice_gateway_request_seconds',
  help: 'Time to answer a REST request, seconds.',
  labelNames: ['operation', 'status'],
  buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30],
});

export const ROUTES: readonly Route[] = [
  ...projectRoutes,
  ...branchRoutes,
  ...endpointRoutes,
  ...operationRoutes,
];

export interface GatewayOptions {
  readonly control: ControlClient;
  readonly log: Log;
  readonly random: Random;
}

/** The gateway without a port: `listen` it, or `inject` requests in tests. */
export function buildGateway({ control, log, random }: GatewayOptions): FastifyInstance {
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
  app.get('/healthz', () => ({ status: 'ok' }));
  app.get('/readyz', async (_, reply) => {
    const { ready, waitingFor } = await control.getReadiness({});
    return reply
      .code(ready ? 200 : 503)
      .send(ready ? { status: 'ready' } : { status: 'waiting', waiting_for: waitingFor });
  });
  app.get('/metrics', async (_, reply) =>
    reply.type(metricsRegistry.contentType).send(await metricsRegistry.metrics()),
  );
  for (const route of ROUTES) register(app, route, control);
  return app;
}

function register(app: FastifyInstance, route: Route, control: ControlClient): void {
  app.route({
    method: route.method,
    url: PREFIX + route.path.replace(/\{(\w+)\}/g, ':$1'),
    handler: async (request, reply) => {
      const measured = requestSeconds.startTimer({ operation: route.operationId });
      reply.raw.once('close', () => measured({ status: String(reply.statusCode) }));
      const gone = new AbortController();
      reply.raw.once('close', () =>
        gone.abort(new CoppiceError('Unavailable', 'cancelled', 'the client went away')),
      );
      const headers = passedHeaders(request);
      const path = checked('path', route.params, request.params);
      const query = checked('query', route.query, request.query);
      const body = route.body ? checked('body', route.body.schema, request.body) : undefined;
      const answer = await route.handle({
        path,
        query,
        body,
        control,
        call: { headers, signal: gone.signal },
      });
      return reply.code(route.status).send(answer);
    },
  });
}

/** What the control-plane gets to see of the caller's headers. */
function passedHeaders(request: FastifyRequest): Record<string, string> {
  const { authorization } = request.headers;
  if (authorization === undefined)
    throw new CoppiceError('Unauthenticated', 'missing-api-key', 'the request carries no API key', {
      remedy: 'Send "Authorization: Bearer <api key>".',
    });
  if (!BEARER.test(authorization))
    throw new CoppiceError('Unauthenticated', 'bad-api-key', 'the Authorization header is not a bearer key', {
      remedy: 'Send "Authorization: Bearer <api key>".',
    });
  const headers: Record<string, string> = { authorization };
  for (const name of ['idempotency-key', 'x-task-id']) {
    const value = request.headers[name];
    if (value === undefined) continue;
    if (typeof value !== 'string' || !HEADER_TEXT.test(value)) {
      throw new CoppiceError(
        'Malformed',
        `bad-${name}`,
        `the ${name} header is not 1 to 255 printable ASCII characters`,
        { remedy: 'Shorten it, or leave it out.' },
      );
    }
    headers[name] = value;
  }
  return headers;
}

function checked(part: string, schema: z.ZodType | undefined, value: unknown): unknown {
  if (!schema) return undefined;
  const result = schema.safeParse(value);
  if (!result.success) throw invalidRequest(part, result.error);
  return result.data;
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
