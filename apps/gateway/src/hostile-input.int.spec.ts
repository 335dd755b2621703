/** Whatever a request holds is refused by a code, and nobody gets at what another agent has. */
import fc from 'fast-check';
import type { Route } from './rest/route';
import { ROUTES } from './rest/routes';
import { agentCreated } from './rest/schemas/fleet';
import { keyCreated } from './rest/schemas/accounts';
import { errorResponse } from './rest/schemas/primitives';
import { type Answer, expectError, expectShape, GatewayWorld } from './testing/gateway-world';
import { along, hostileText, inUrl } from './testing/hostile';

jest.setTimeout(180_000);

let world: GatewayWorld;
beforeAll(async () => {
  world = await GatewayWorld.start();
});
afterAll(() => world?.stop());

const refusedOrDone = (answer: Answer): void => {
  expect([answer.status < 500, answer]).toEqual([true, answer]);
  if (answer.status >= 400) expect(errorResponse.strict().parse(answer.json).code).toMatch(/^[a-z0-9-]+$/);
};
const logsNoError = (): void => expect(world.plane.log.join('')).not.toMatch(/"level":"(error|fatal)"/);

describe.each(ROUTES.map((route) => [`${route.method} ${route.path}`, route] as const))('%s', (_, route) => {
  it('answers whatever it is sent, and never with a failure', async () => {
    const { project, branch, endpoints } = await world.newProject();
    const real: Readonly<Record<string, string>> = {
      project_id: project.id,
      branch_id: branch.id,
      endpoint_id: endpoints[0]!.id,
      role_name: 'neondb_owner',
      database_name: 'neondb',
      org_id: 'org-coppice',
    };
    const query = (route.query ? along(route.query) : fc.constant({})) as fc.Arbitrary<object>;
    const body = route.body ? along(route.body.schema) : fc.constant(undefined);
    await fc.assert(
      fc.asyncProperty(
        query,
        body,
        fc.infiniteStream(hostileText),
        fc.integer({ min: 0, max: 3 }),
        async (q, b, texts, spoil) => {
          let nth = 0;
          const path = route.path.replace(/\{(\w+)\}/g, (__, name: string) => {
            nth += 1;
            return real[name] !== undefined && nth !== spoil ? real[name] : inUrl(texts.next().value);
          });
          const pairs = Object.entries(q ?? {}).map(([name, value]) => `${inUrl(name)}=${inUrl(value)}`);
          const sent = b === undefined ? undefined : JSON.stringify(b);
          refusedOrDone(
            await world.api(route.method, pairs.length === 0 ? path : `${path}?${pairs.join('&')}`, sent),
          );
        },
      ),
      { numRuns: 25 },
    );
    logsNoError();
  });
});

describe('paths that play tricks', () => {
  it('lead nowhere', async () => {
    for (const path of [
      '/api/v2/../../metrics',
      '/api/v2/projects/../../../etc/passwd',
      '/api/v2/projects/%2e%2e/%2e%2e/metrics',
      '/api/v2/projects/..%2f..%2fmetrics',
      '/api/v2//projects',
      '/api/v2/projects/%00',
      '/api/v2/projects/%ff%fe',
      '/api/v2/docs/../../../../etc/passwd',
      '/api/v2/docs/..%2f..%2fpackage.json',
      '/api/v2/docs/%2e%2e/index.html',
      `/api/v2/projects/${'a/'.repeat(2_000)}`,
      `/api/v2/projects/${'%F0%9F%98%80'.repeat(500)}`,
      '/api/v2/projects/__proto__/branches',
      '/api/v2/projects?cursor=__proto__',
    ]) {
      const answer = await world.send('GET', path, { authorization: 'Bearer cpk_0123456789abcdef' });
      refusedOrDone(answer);
      expect([path, answer.status >= 400]).toEqual([path, true]);
    }
  });
});

describe('an agent with a key of its own', () => {
  const as = (key: string, more: Record<string, string> = {}) => ({
    authorization: `Bearer ${key}`,
    ...more,
  });
  const newAgent = async (): Promise<{ id: string; key: string }> => {
    const made = expectShape(
      await world.api('POST', '/agents', { agent: { quotas: { projects: 3, branches: 10 } } }),
      201,
      agentCreated,
    );
    return { id: made.agent.id, key: made.api_key.key };
  };

  /** A request of a route about someone else's things, with the body that would be right. */
  const BODIES: Readonly<Record<string, unknown>> = {
    updateProject: { project: { name: 'mine' } },
    updateProjectBranch: { branch: { name: 'mine' } },
    restoreProjectBranch: { source_branch_id: '^parent' },
    createProjectEndpoint: { endpoint: { branch_id: 'BRANCH', type: 'read_write' } },
    updateProjectEndpoint: { endpoint: { suspend_timeout_seconds: 60 } },
    createProjectBranchRole: { role: { name: 'mine' } },
    createProjectBranchDatabase: { database: { name: 'mine', owner_name: 'neondb_owner' } },
    updateProjectBranchDatabase: { database: { name: 'mine' } },
    updateSnapshot: { snapshot: { name: 'mine' } },
  };
  const QUERIES: Readonly<Record<string, string>> = {
    getConnectionURI: '?database_name=neondb&role_name=neondb_owner',
    getProjectBranchSchema: '?db_name=neondb',
    getProjectBranchSchemaComparison: '?db_name=neondb',
  };
  const about = (route: Route, ids: Readonly<Record<string, string>>): string =>
    route.path.replace(/\{(\w+)\}/g, (_, name: string) => inUrl(ids[name] ?? '7')) +
    (QUERIES[route.operationId] ?? '');

  it("finds nothing of another's under any route, reads or changes none of it", async () => {
    const [owner, thief] = [await newAgent(), await newAgent()];
    const { project, branch, endpoints } = await world.newProject(as(owner.key));
    const ids = {
      project_id: project.id,
      branch_id: branch.id,
      endpoint_id: endpoints[0]!.id,
      role_name: 'neondb_owner',
      database_name: 'neondb',
    };
    const before = await world.api('GET', `/projects/${project.id}/branches`, undefined, as(owner.key));
    for (const route of ROUTES.filter((r) => r.path.startsWith('/projects/{project_id}'))) {
      const body = JSON.stringify(BODIES[route.operationId])?.replace('BRANCH', branch.id);
      const answer = await world.api(route.method, about(route, ids), body, as(thief.key));
      expect([route.operationId, answer.status, (answer.json as { code?: string }).code]).toEqual([
        route.operationId,
        404,
        'project-not-found',
      ]);
    }
    const own = await world.newProject(as(thief.key));
    for (const route of ROUTES.filter(
      (r) => r.path.includes('{branch_id}') || r.path.includes('{endpoint_id}'),
    )) {
      const mixed = { ...ids, project_id: own.project.id };
      const answer = await world.api(
        route.method,
        about(route, mixed),
        BODIES[route.operationId],
        as(thief.key),
      );
      const wanted = route.gone !== undefined && answer.status === 204 ? 204 : 404;
      expect([route.operationId, answer.status]).toEqual([route.operationId, wanted]);
    }
    const lists = [
      '/projects?limit=400',
      '/audit_log?limit=1000',
      '/api_keys',
      `/audit_log?project_id=${project.id}`,
    ];
    for (const list of lists) {
      const text = JSON.stringify((await world.api('GET', list, undefined, as(thief.key))).json);
      for (const secret of [project.id, branch.id, owner.id])
        expect([list, text.includes(secret)]).toEqual([list, false]);
    }
    expectError(
      await world.api('GET', `/agents/${owner.id}`, undefined, as(thief.key)),
      404,
      'agent-not-found',
    );
    for (const path of ['/agents', '/reaper/preview'])
      expect((await world.api('GET', path, undefined, as(thief.key))).status).toBe(403);
    expect((await world.api('POST', '/agents', { agent: {} }, as(thief.key))).status).toBe(403);
    expect(
      await world.api('GET', `/projects/${project.id}/branches`, undefined, as(owner.key)),
    ).toMatchObject({
      json: before.json,
    });
  });

  it("cannot replay another's idempotency key, nor its own with another body", async () => {
    const [one, two] = [await newAgent(), await newAgent()];
    const replayed = { 'idempotency-key': 'same' };
    const first = await world.newProject(as(one.key, replayed));
    const others = await world.newProject(as(two.key, replayed));
    expect(others.project.id).not.toBe(first.project.id);
    const again = await world.newProject(as(one.key, replayed));
    expect(again.project.id).toBe(first.project.id);
    const other = await world.api('POST', '/projects', { project: { name: 'other' } }, as(one.key, replayed));
    expectError(other, 422, 'idempotency-key-reused');
  });

  it('is shut out with a key that is revoked, has expired or opens something else', async () => {
    const { key } = await newAgent();
    const { project } = await world.newProject(as(key));
    const other = await world.newProject(as(key));
    const bound = expectShape(
      await world.api(
        'POST',
        '/api_keys',
        { key_name: 'bound', project_id: project.id, ttl_seconds: 1 },
        as(key),
      ),
      200,
      keyCreated,
    );
    expect((await world.api('GET', `/projects/${project.id}`, undefined, as(bound.key))).status).toBe(200);
    expectError(
      await world.api('GET', `/projects/${other.project.id}`, undefined, as(bound.key)),
      404,
      'project-not-found',
    );
    expect((await world.api('POST', '/projects', { project: {} }, as(bound.key))).status).toBe(403);
    await new Promise((r) => setTimeout(r, 1_100));
    expect((await world.api('GET', `/projects/${project.id}`, undefined, as(bound.key))).status).toBe(401);
    expect((await world.api('DELETE', `/api_keys/${bound.id}`, undefined, as(key))).status).toBeLessThan(500);
  });
});
