/** One route on the HTTP server: its headers, path, query and body are checked, then it runs, and is counted. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { CLIENT_ADDRESS_HEADER } from '@coppice/contracts';
import { type Clock, CoppiceError, Histogram } from '@coppice/service-kit';
import type { z } from 'zod';
import { invalidRequest } from './errors';
import type { ControlClient, FleetClient, Route } from './route';

export const PREFIX = '/api/v2';
const BEARER = /^Bearer +[\x21-\x7e]{1,512}$/i;
const HEADER_TEXT = /^[\x20-\x7e]{1,255}$/;

const requestSeconds = new Histogram({
  name: 'coppice_gateway_request_seconds',
  help: 'Time to answer a REST request, seconds.',
  labelNames: ['operation', 'status'],
  buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30],
});

/** Made once: every request that is over is told of, and a stack trace costs more than the telling. */
const CLIENT_GONE = new CoppiceError('Unavailable', 'cancelled', 'the client went away');

export interface RouteServices {
  readonly control: ControlClient;
  readonly fleet: FleetClient;
  readonly clock: Clock;
}

export function serveRoute(
  app: FastifyInstance,
  route: Route,
  { control, fleet, clock }: RouteServices,
): void {
  const handle = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const measured = requestSeconds.startTimer({ operation: route.operationId });
    reply.raw.once('close', () => measured({ status: String(reply.statusCode) }));
    const gone = new AbortController();
    reply.raw.once('close', () => gone.abort(CLIENT_GONE));
    const headers = passedHeaders(request);
    const path = checked('path', route.params, request.params);
    const query = checked('query', route.query, request.query);
    const body = route.body ? checked('body', route.body.schema, request.body ?? undefined) : undefined;
    try {
      const call = { headers, signal: gone.signal };
      const answer = await route.handle({ path, query, body, control, fleet, call, now: clock.now() });
      return reply.code(route.status).send(answer);
    } catch (error) {
      if (route.gone !== undefined && error instanceof CoppiceError && error.code === route.gone)
        return reply.code(204).send();
      throw error;
    }
  };
  app.route({ method: route.method, url: PREFIX + route.path.replace(/\{(\w+)\}/g, ':$1'), handler: handle });
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
  // What a client itself sends under this name is not passed on.
  const headers: Record<string, string> = { authorization, [CLIENT_ADDRESS_HEADER]: request.ip };
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
