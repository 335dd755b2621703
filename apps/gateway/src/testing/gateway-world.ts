/** The gateway on a port, over a real control-plane process; requests to it, and what answers must be like. */
import type { FastifyInstance } from 'fastify';
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { silentLog, systemClock, systemRandom } from '@coppice/service-kit';
import { ControlPlaneProcess, TEST_KEY } from '@coppice/testing';
import type { z } from 'zod';
import { errorResponse } from '../rest/schemas/primitives';
import { projectCreated } from '../rest/schemas/projects';
import { buildGateway } from '../server';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Parsed when it is JSON; else the text. */
  readonly json: unknown;
}

/** In the body of a new branch: with an endpoint. */
export const RW = { endpoints: [{ type: 'read_write' }] };

export class GatewayWorld {
  readonly #agent = new Agent({ keepAlive: true });

  private constructor(
    readonly plane: ControlPlaneProcess,
    readonly app: FastifyInstance,
  ) {}

  static async start(): Promise<GatewayWorld> {
    const plane = await ControlPlaneProcess.start();
    const { control, fleet } = plane;
    const app = buildGateway({ control, fleet, log: silentLog(), random: systemRandom, clock: systemClock });
    const world = new GatewayWorld(plane, app);
    try {
      await app.listen({ host: '127.0.0.1', port: 0 });
    } catch (error) {
      await world.stop();
      throw error;
    }
    return world;
  }

  async stop(): Promise<void> {
    this.#agent.destroy();
    await this.app.close();
    await this.plane.stop();
  }

  /** One request over a real connection, sent as given. */
  send(method: string, path: string, headers: Record<string, string>, body?: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const { port } = this.app.server.address() as AddressInfo;
      const sent = request(
        { host: '127.0.0.1', port, method, path, headers, agent: this.#agent },
        (answer) => {
          let text = '';
          answer.setEncoding('utf8').on('data', (more: string) => (text += more));
          answer.on('end', () =>
            resolve({
              status: answer.statusCode!,
              headers: answer.headers,
              json: answer.headers['content-type']?.includes('json') ? (JSON.parse(text) as unknown) : text,
            }),
          );
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });
  }

  /** A request with the operator's key, or with what `headers` say. */
  api(
    method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    return this.send(
      method,
      `/api/v2${path}`,
      { authorization: `Bearer ${TEST_KEY}`, ...headers },
      body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
    );
  }

  async newProject(headers: Record<string, string> = {}): Promise<z.infer<typeof projectCreated>> {
    return expectShape(
      await this.api('POST', '/projects', { project: { name: 'shop' } }, headers),
      201,
      projectCreated,
    );
  }
}

/** The parsed answer; fails when the status or the shape is another. */
export function expectShape<S extends z.ZodType>(answer: Answer, status: number, schema: S): z.infer<S> {
  expect([answer.status, answer.json]).toEqual([status, answer.json]);
  const strict = 'strict' in schema ? (schema as unknown as z.ZodObject).strict() : schema;
  return strict.parse(answer.json) as z.infer<S>;
}

/** The message of a refusal; fails when the status or the code is another. */
export function expectError(answer: Answer, status: number, code: string): string {
  expect([answer.status, (answer.json as { code: string }).code]).toEqual([status, code]);
  const body = errorResponse.strict().parse(answer.json);
  expect(answer.headers['x-request-id']).toBe(body.request_id);
  return body.message;
}
