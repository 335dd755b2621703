import fc from 'fast-check';
import type { FastifyInstance } from 'fastify';
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { silentLog, systemRandom } from '@coppice/service-kit';
import type { z } from 'zod';
import { errorResponse, responses } from './rest/schemas';
import { buildGateway, ROUTES } from './server';
import { ControlPlaneProcess, TEST_KEY } from './testing/control-plane-process';

let plane: ControlPlaneProcess;
let app: FastifyInstance;
const agent = new Agent({ keepAlive: true });

beforeAll(async () => {
  plane = await ControlPlaneProcess.start();
  app = buildGateway({ control: plane.control, log: silentLog(), random: systemRandom });
  await app.listen({ host: '127.0.0.1', port: 0 });
});

afterAll(async () => {
  agent.destroy();
  await app?.close();
  await plane?.stop();
});

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly json: unknown;
}

/** One request over a real connection, sent as given. */
const send = (
  method: string,
  path: string,
  headers: Record<string, string>,
  body?: string,
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const { port } = app.server.address() as AddressInfo;
    const sent = request({ host: '127.0.0.1', port, method, path, headers, agent }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (more: string) => (text += more));
      answer.on('end', () =>
        resolve({
          status: answer.statusCode!,
          headers: answer.headers,
          json: text === '' ? undefined : (JSON.parse(text) as unknown),
        }),
      );
    });
    sent.on('error', reject);
    sent.end(body);
  });

const api = (
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> =>
  send(
    method,
    `/api/v2${path}`,
    { authorization: `Bearer ${TEST_KEY}`, ...headers },
    body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
  );

/** The parsed answer; fails when the status or the shape is another. */
const expectShape = <S extends z.ZodObject>(answer: Answer, status: number, schema: S): z.infer<S> => {
  expect([answer.status, answer.json]).toEqual([status, answer.json]);
  return schema.strict().parse(answer.json) as z.infer<S>;
};

const expectError = (answer: Answer, status: number, code: string): string => {
  expect([answer.status, (answer.json as { code: string }).code]).toEqual([status, code]);
  const body = errorResponse.strict().parse(answer.json);
  expect(answer.headers['x-request-id']).toBe(body.request_id);
  return body.message;
};

const RW = { endpoints: [{ type: 'read_write' }] };
const newProject = async () =>
  expectShape(await api('POST', '/projects', { project: { name: 'shop' } }), 201, responses.projectCreated);

describe('the main job', () => {
  it('makes a project, forks it, and each answer has the documented shape', async () => {
    const made = await newProject();
    expect(made.project.id).toMatch(/^[a-z]+-[a-z]+-\d{8}$/);
    expect(made.branch).toMatchObject({ name: 'main', default: true, current_state: 'ready' });
    expect(made.connection_uris[0]!.connection_uri).toMatch(
      /^postgresql:\/\/neondb_owner:npg_\w+@127\.0\.0\.1:7432\/neondb\?options=endpoint%3Dep-/,
    );
    const p = `/projects/${made.project.id}`;
    const fork = expectShape(
      await api('POST', `${p}/branches`, { branch: { name: 'try-1' }, ...RW }),
      201,
      responses.branchCreated,
    );
    expect(fork.branch).toMatchObject({
      name: 'try-1',
      parent_id: made.branch.id,
      parent_lsn: '0/1500000',
      default: false,
    });
    expect(fork.branch.id).toMatch(/^br-[a-z0-9]+-[a-z0-9]+-[a-z0-9]+$/);
    expect(fork.operations.every((o) => o.status === 'finished')).toBe(true);
    expect(fork.connection_uris![0]!.connection_parameters.password).not.toBe(
      made.connection_uris[0]!.connection_parameters.password,
    );
    const bare = expectShape(await api('POST', `${p}/branches`), 201, responses.branchCreated);
    expect([bare.endpoints, bare.connection_uris, bare.branch.name]).toEqual([[], undefined, bare.branch.id]);

    expectShape(await api('GET', p), 200, responses.project);
    expect(
      expectShape(await api('GET', '/projects?limit=400&search=shop'), 200, responses.projects).projects.map(
        (x) => x.id,
      ),
    ).toContain(made.project.id);
    expect(expectShape(await api('GET', `${p}/branches`), 200, responses.branches).branches).toHaveLength(3);
    expect(
      expectShape(await api('GET', `${p}/branches/${fork.branch.id}`), 200, responses.branch).branch,
    ).toEqual(fork.branch);
    expect(expectShape(await api('GET', `${p}/endpoints`), 200, responses.endpoints).endpoints).toHaveLength(
      2,
    );
    expect(
      expectShape(await api('GET', `${p}/branches/${fork.branch.id}/endpoints`), 200, responses.endpoints)
        .endpoints,
    ).toEqual(fork.endpoints);
    const e = `${p}/endpoints/${fork.endpoints[0]!.id}`;
    expect(
      expectShape(await api('POST', `${e}/start`), 200, responses.endpointOperations).endpoint.current_state,
    ).toBe('active');
    const suspended = expectShape(await api('POST', `${e}/suspend`), 200, responses.endpointOperations);
    expect([suspended.endpoint.current_state, typeof suspended.endpoint.suspended_at]).toEqual([
      'idle',
      'string',
    ]);
    expectShape(await api('GET', e), 200, responses.endpoint);
    const uri = await api(
      'GET',
      `${p}/connection_uri?branch_id=${fork.branch.id}&database_name=neondb&role_name=neondb_owner`,
    );
    expect(expectShape(uri, 200, responses.connectionUri).uri).toBe(fork.connection_uris![0]!.connection_uri);
    const { operations } = expectShape(await api('GET', `${p}/operations`), 200, responses.operations);
    expectShape(await api('GET', `${p}/operations/${operations[0]!.id}`), 200, responses.operation);
    expectShape(await api('DELETE', `${p}/branches/${fork.branch.id}`), 200, responses.branchOperations);
    expectShape(await api('DELETE', p), 200, responses.project);
    expectError(await api('GET', p), 404, 'project-not-found');
  });

  it('takes JSON whatever the content type says, as curl sends it', async () => {
    const answer = await api(
      'POST',
      '/projects',
      { project: {} },
      { 'content-type': 'application/x-www-form-urlencoded' },
    );
    expect(answer.status).toBe(201);
  });

  it('answers a repeated idempotency key alike and refuses it for another body', async () => {
    const { project } = await newProject();
    const key = { 'idempotency-key': 'fork-1' };
    const first = await api(
      'POST',
      `/projects/${project.id}/branches`,
      { branch: { name: 'a' }, ...RW },
      key,
    );
    const again = await api(
      'POST',
      `/projects/${project.id}/branches`,
      { branch: { name: 'a' }, ...RW },
      key,
    );
    expect([again.status, again.json]).toEqual([201, first.json]);
    expectError(
      await api('POST', `/projects/${project.id}/branches`, { branch: { name: 'b' }, ...RW }, key),
      422,
      'idempotency-key-reused',
    );
  });

  it('pages through lists with cursors', async () => {
    const { project } = await newProject();
    for (let i = 0; i < 4; i++)
      await api('POST', `/projects/${project.id}/branches`, { branch: { name: `b${i}` } });
    const names: string[] = [];
    let cursor = '';
    for (;;) {
      const page = expectShape(
        await api('GET', `/projects/${project.id}/branches?limit=2&sort_by=name&sort_order=asc${cursor}`),
        200,
        responses.branches,
      );
      names.push(...page.branches.map((b) => b.name));
      if (page.pagination.next === undefined) break;
      cursor = `&cursor=${page.pagination.next}`;
    }
    expect(names).toEqual(['b0', 'b1', 'b2', 'b3', 'main']);
  });
});

describe('refusals', () => {
  let p: string;
  beforeAll(async () => {
    p = `/projects/${(await newProject()).project.id}`;
  });

  it('say what is wrong and what to do, with stable codes', async () => {
    expect(
      expectError(
        await api('POST', `${p}/branches`, { branch: { parent_lsn: '7/0' } }),
        422,
        'lsn-in-future',
      ),
    ).toContain('The latest is 0/1500000.');
    expect(
      expectError(
        await api('POST', `${p}/branches`, { branch: { parent_lsn: '0/1' } }),
        422,
        'lsn-before-history',
      ),
    ).toContain('The earliest is 0/1500000.');
    expectError(
      await api('POST', `${p}/branches`, { branch: { parent_lsn: '0/0' } }),
      422,
      'lsn-before-history',
    );
    expectError(
      await api('POST', `${p}/branches`, { branch: { parent_timestamp: '2999-01-01T00:00:00Z' } }),
      422,
      'timestamp-in-future',
    );
    expectError(
      await api('POST', `${p}/branches`, { branch: { parent_timestamp: '1970-01-01T00:00:00Z' } }),
      422,
      'timestamp-before-history',
    );
    expectError(
      await api('POST', `${p}/branches`, { branch: { parent_id: 'br-no-such-1' } }),
      404,
      'branch-not-found',
    );
    expectError(await api('POST', `${p}/branches`, { branch: { name: 'main' } }), 409, 'branch-name-taken');
    expectError(
      await api('POST', `${p}/branches`, { branch: { expires_at: '2026-12-01T00:00:00Z' } }),
      422,
      'unsupported-setting',
    );
    expectError(
      await api('POST', `${p}/branches`, { endpoints: [{ type: 'read_only' }] }),
      422,
      'unsupported-endpoint-type',
    );
    expectError(
      await api('POST', '/projects', { project: { pg_version: 15 } }),
      422,
      'unsupported-pg-version',
    );
    expectError(await api('GET', '/projects/no-such-project'), 404, 'project-not-found');
    expectError(await api('POST', `${p}/endpoints/ep-no-such-1/start`), 404, 'endpoint-not-found');
    expectError(await api('GET', `${p}/operations/x`), 404, 'operation-not-found');
    expectError(await api('GET', '/nowhere'), 404, 'route-not-found');
    expectError(
      await api('GET', `${p}/connection_uri?database_name=neondb&role_name=x`),
      404,
      'role-not-found',
    );
  });

  it('name the field and the bound of a malformed request', async () => {
    const bad = async (body: unknown) =>
      expectError(await api('POST', `${p}/branches`, body), 400, 'invalid-request');
    expect(await bad({ branch: { parent_lsm: '0/1' } })).toContain('parent_lsm');
    expect(await bad({ branch: { parent_lsn: 'zz' } })).toContain('body.branch.parent_lsn: must be an LSN');
    expect(await bad({ branch: { name: 'x'.repeat(257) } })).toContain('256');
    expect(await bad({ branch: { parent_timestamp: '2026-02-31T00:00:00Z' } })).toContain('RFC 3339');
    expect(await bad({ endpoints: [{ type: 'read_write', suspend_timeout_seconds: 604_801 }] })).toContain(
      '604800',
    );
    expect(await bad([])).toContain('body');
    expectError(await api('GET', '/projects?limit=401'), 400, 'invalid-request');
    expectError(await api('GET', '/projects?limit=1&limit=2'), 400, 'invalid-request');
    expectError(await api('GET', '/projects?cursor=abc'), 400, 'bad-cursor');
    expectError(await api('POST', '/projects', '{'), 400, 'bad-json');
    expectError(await api('POST', '/projects', `"${'x'.repeat(1024 * 1024)}"`), 413, 'body-too-large');
    expectError(await api('POST', '/projects'), 400, 'invalid-request');
    expectError(await api('GET', '/projects/%zz'), 400, 'bad-request');
  });

  it('keep out who has no key', async () => {
    expectError(await send('GET', '/api/v2/projects', {}), 401, 'missing-api-key');
    for (const authorization of [
      'Bearer cpk_wrongwrongwrong',
      'Basic x',
      'Bearer',
      `Bearer ${'x'.repeat(600)}`,
      'Bearer ü',
    ]) {
      expectError(await api('GET', '/projects', undefined, { authorization }), 401, 'bad-api-key');
    }
    expectError(
      await api('POST', '/projects', { project: {} }, { 'idempotency-key': 'x'.repeat(256) }),
      400,
      'bad-idempotency-key',
    );
  });

  it('keep the request id of the caller when it is a plain one', async () => {
    expect(
      (await api('GET', '/projects', undefined, { 'x-request-id': 'task-7' })).headers['x-request-id'],
    ).toBe('task-7');
    expect(
      (await api('GET', '/projects', undefined, { 'x-request-id': 'a b' })).headers['x-request-id'],
    ).toMatch(/^[0-9a-f]{32}$/);
  });
});

describe('hostile input', () => {
  const encoded = (text: string): string => encodeURIComponent(text.replace(/\p{Surrogate}/gu, '?'));
  const hostileText = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 300 }),
    fc.constantFrom(
      '\u0000',
      '\ud800',
      "'; drop table projects; --",
      '../../etc/passwd',
      '%00',
      '__proto__',
      'x'.repeat(5000),
      '𝕏'.repeat(200),
    ),
  );
  const hostile = fc.oneof(
    { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
    { weight: 2, arbitrary: hostileText },
  );
  const bodies = fc.oneof(
    hostile,
    fc.record({
      project: fc.record(
        {
          name: hostile,
          pg_version: hostile,
          branch: fc.record({ role_name: hostileText, database_name: hostileText }, { requiredKeys: [] }),
        },
        { requiredKeys: [] },
      ),
    }),
    fc.record({
      branch: fc.record(
        { name: hostile, parent_id: hostile, parent_lsn: hostile, parent_timestamp: hostile },
        { requiredKeys: [] },
      ),
      endpoints: fc.oneof(
        hostile,
        fc.array(
          fc.record({
            type: fc.constantFrom('read_write', 'x'),
            suspend_timeout_seconds: fc.oneof(fc.double(), fc.integer()),
          }),
        ),
      ),
    }),
  );

  it('never gets a 5xx, and always the error shape', async () => {
    const { project } = await newProject();
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...ROUTES),
        hostileText,
        hostileText,
        bodies,
        async (route, id, query, body) => {
          const real = route.path.replace('{project_id}', project.id);
          const path = (query.length % 2 ? real : route.path).replace(/\{\w+\}/g, () => encoded(id));
          const q = `?search=${encoded(query)}&cursor=${encoded(id)}`;
          const withQuery = route.query && query.length % 3 === 0 ? `${path}${q}` : path;
          if (route.method === 'DELETE' && path === `/projects/${project.id}`) return;
          const answer = await api(
            route.method,
            withQuery,
            route.method === 'POST' ? JSON.stringify(body) : undefined,
          );
          expect(answer.status).toBeLessThan(500);
          if (answer.status >= 400) errorResponse.strict().parse(answer.json);
        },
      ),
      { numRuns: 400 },
    );
    expect(plane.log.join('')).not.toMatch(/"level":"(error|fatal)"/);
  });
});

describe('the OpenAPI document', () => {
  it('describes every route', async () => {
    const document = (await send('GET', '/api/v2/openapi.json', {})).json as {
      openapi: string;
      paths: Record<string, object>;
    };
    expect(document.openapi).toBe('3.1.0');
    for (const route of ROUTES) expect(document.paths[route.path]).toHaveProperty(route.method.toLowerCase());
    expect(JSON.stringify(document)).toContain('parent_timestamp');
  });

  it('is served without a key, like readiness', async () => {
    expect((await send('GET', '/readyz', {})).json).toEqual({ status: 'ready' });
  });
});
