import { systemClock } from '@coppice/service-kit';
import { TEMPLATE_LSN } from './test-peers';
import { call, ControlPlaneWorld, errorOf as error, timelineOf } from './testing/control-plane-world';

let world: ControlPlaneWorld;

beforeAll(async () => {
  world = await ControlPlaneWorld.start({ template: 'later' });
});
afterAll(() => world?.stop());

describe('readiness', () => {
  it('refuses projects until the template is there, then builds it once', async () => {
    expect(await world.control.getReadiness({})).toMatchObject({ ready: false });
    expect((await error(world.project())).code).toBe('template-not-ready');
    await world.heartbeat(world.agent);
    for (let i = 0; i < 100 && !(await world.control.getReadiness({})).ready; i++)
      await systemClock.sleep(50);
    expect(await world.control.getReadiness({})).toEqual({ ready: true, waitingFor: '' });
    await world.ready();
    expect(world.agent.templatesBuilt).toBe(1);
  });
});

describe('access', () => {
  it('answers nobody without a valid key', async () => {
    expect((await error(world.control.listProjects({ cursor: '', limit: 0, search: '' }))).code).toBe(
      'missing-api-key',
    );
    const wrong = { headers: { authorization: 'Bearer cpk_wrong' } };
    expect((await error(world.control.whoAmI({}, wrong))).kind).toBe('Unauthenticated');
    expect(await world.control.whoAmI({}, call)).toMatchObject({ agentId: 'operator', scope: 'fleet' });
  });
});

describe('projects', () => {
  it('come with a branch, an endpoint, a role, a database and a connection string', async () => {
    const made = await world.project({ name: 'shop' });
    expect(made.project).toMatchObject({
      name: 'shop',
      pgVersion: 17,
      defaultBranchId: made.branch.id,
      historyRetentionSeconds: 86400,
    });
    expect(made.branch).toMatchObject({ name: 'main', isDefault: true, parentId: '' });
    expect(made.endpoints).toMatchObject([{ type: 'read_write', state: 'idle', branchId: made.branch.id }]);
    expect(made.roles).toMatchObject([{ name: 'neondb_owner' }]);
    expect(made.databases).toMatchObject([{ name: 'neondb', ownerName: 'neondb_owner' }]);
    expect(made.operations.every((o) => o.status === 'finished')).toBe(true);
    const uri = new URL(made.connectionUris[0]!.uri);
    expect([uri.username, uri.hostname, uri.port, uri.pathname]).toEqual([
      'neondb_owner',
      '127.0.0.1',
      '7432',
      '/neondb',
    ]);
    expect(uri.searchParams.get('options')).toBe(`endpoint=${made.endpoints[0]!.id}`);
    expect(await world.control.getProject({ projectId: made.project.id }, call)).toEqual(made.project);
    expect(
      await world.control.getBranch({ projectId: made.project.id, branchId: made.branch.id }, call),
    ).toEqual(made.branch);
    const facts = await world.internal.getTimeline({ timelineId: timelineOf(made) });
    expect(facts).toMatchObject({
      ancestorLsn: TEMPLATE_LSN,
      systemIdentifier: 7_000_000_000_000_000_001n,
      pgVersion: 17,
    });
    expect((await world.internal.getTimeline({ timelineId: facts.ancestorId! })).ancestorId).toBeUndefined();
  });

  it('are listed page by page without gaps or repeats', async () => {
    for (let i = 0; i < 5; i++) await world.project({ name: `paged%_${i}` });
    const seen: string[] = [];
    let cursor = '';
    do {
      const page = await world.control.listProjects({ cursor, limit: 2, search: 'paged%_' }, call);
      seen.push(...page.projects.map((p) => p.name));
      cursor = page.nextCursor;
    } while (cursor !== '');
    expect(seen.sort()).toEqual([0, 1, 2, 3, 4].map((i) => `paged%_${i}`));
    for (const bad of ['x', 'bnVsbA', Buffer.from('[1e99,"a"]').toString('base64url')]) {
      expect(
        (await error(world.control.listProjects({ cursor: bad, limit: 2, search: '' }, call))).code,
      ).toBe('bad-cursor');
    }
  });

  it('refuse what they cannot be, saying what can', async () => {
    const code = async (over: object) => (await error(world.project(over))).code;
    expect(await code({ name: 'x'.repeat(257) })).toBe('name-too-long');
    expect(await code({ name: 'a\u0000b' })).toBe('bad-name');
    expect(await code({ pgVersion: 15 })).toBe('unsupported-pg-version');
    expect(await code({ databaseName: 'template1' })).toBe('reserved-name');
    expect(await code({ roleName: 'pg_monitor' })).toBe('reserved-name');
    expect(await code({ roleName: 'x'.repeat(64) })).toBe('name-too-long');
    expect(await code({ suspendTimeoutSeconds: -2 })).toBe('bad-suspend-timeout');
    expect((await error(world.control.getProject({ projectId: 'none-such-1' }, call))).code).toBe(
      'project-not-found',
    );
  });

  it('end with all their branches and computes', async () => {
    const made = await world.project();
    const { computeId } = await world.internal.wake({ endpointId: made.endpoints[0]!.id });
    await world.control.deleteProject({ projectId: made.project.id }, call);
    expect(world.agent.stops).toContain(computeId);
    expect((await error(world.control.getProject({ projectId: made.project.id }, call))).code).toBe(
      'project-not-found',
    );
    expect((await error(world.internal.wake({ endpointId: made.endpoints[0]!.id }))).code).toBe(
      'endpoint-not-found',
    );
    expect(
      (
        await error(
          world.internal.getLogin({
            endpointId: made.endpoints[0]!.id,
            role: 'neondb_owner',
            database: 'neondb',
          }),
        )
      ).code,
    ).toBe('endpoint-not-found');
  });
});

describe('pageservers', () => {
  it('get a larger generation each time they attach', async () => {
    const one = await world.internal.attachPageserver({ nodeId: 'ps-1', address: 'unix:/ps' });
    const two = await world.internal.attachPageserver({ nodeId: 'ps-1', address: 'unix:/ps' });
    expect(two.generation).toBeGreaterThan(one.generation);
  });
});

describe('operations', () => {
  it('are listed newest first, page by page, and found by id', async () => {
    const project = await world.project();
    for (let i = 0; i < 3; i++) await world.fork(project.project.id);
    const first = await world.control.listOperations(
      { projectId: project.project.id, cursor: '', limit: 5 },
      call,
    );
    const rest = await world.control.listOperations(
      { projectId: project.project.id, cursor: first.nextCursor, limit: 5 },
      call,
    );
    expect([first.operations.length, rest.operations.length, rest.nextCursor]).toEqual([5, 3, '']);
    const [one] = first.operations;
    expect(
      await world.control.getOperation({ projectId: project.project.id, operationId: one!.id }, call),
    ).toEqual(one);
    expect(
      (await error(world.control.getOperation({ projectId: project.project.id, operationId: 'x' }, call)))
        .code,
    ).toBe('operation-not-found');
  });
});
