import fc from 'fast-check';
import { ROUTES } from './rest/routes';
import { errorResponse } from './rest/schemas/primitives';
import { GatewayWorld } from './testing/gateway-world';

let world: GatewayWorld;
beforeAll(async () => {
  world = await GatewayWorld.start();
});
afterAll(() => world?.stop());

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
    const { project } = await world.newProject();
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
          const answer = await world.api(
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
    expect(world.plane.log.join('')).not.toMatch(/"level":"(error|fatal)"/);
  });
});
