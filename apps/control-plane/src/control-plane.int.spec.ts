import { systemClock } from '@coppice/service-kit';
import { TEMPLATE_LSN, type TestAgent } from './test-peers';
import {
  call,
  type Control,
  ControlPlaneWorld,
  errorOf as error,
  type Internal,
  timelineOf,
} from './testing/control-plane-world';

let world: ControlPlaneWorld;
let control: Control;
let internal: Internal;
let agent: TestAgent;
const newProject = (over: object = {}): object => over;
const fork: ControlPlaneWorld['fork'] = (projectId, over) => world.fork(projectId, over);
const heartbeat: ControlPlaneWorld['heartbeat'] = (of, at) => world.heartbeat(of, at);

beforeAll(async () => {
  world = await ControlPlaneWorld.start({ template: 'later' });
  ({ control, internal, agent } = world);
});
afterAll(() => world?.stop());

describe('readiness', () => {
  it('refuses projects until the template is there, then builds it once', async () => {
    expect(await control.getReadiness({})).toMatchObject({ ready: false });
    expect((await error(control.createProject(newProject(), call))).code).toBe('template-not-ready');
    await heartbeat(agent);
    for (let i = 0; i < 100 && !(await control.getReadiness({})).ready; i++) await systemClock.sleep(50);
    expect(await control.getReadiness({})).toEqual({ ready: true, waitingFor: '' });
    await world.ready();
    expect(agent.templatesBuilt).toBe(1);
  });
});

describe('access', () => {
  it('answers nobody without a valid key', async () => {
    expect((await error(control.listProjects({ cursor: '', limit: 0, search: '' }))).code).toBe(
      'missing-api-key',
    );
    const wrong = { headers: { authorization: 'Bearer cpk_wrong' } };
    expect((await error(control.whoAmI({}, wrong))).kind).toBe('Unauthenticated');
    expect(await control.whoAmI({}, call)).toMatchObject({ agentId: 'operator', scope: 'fleet' });
  });
});

describe('projects', () => {
  it('come with a branch, an endpoint, a role, a database and a connection string', async () => {
    const made = await control.createProject(newProject({ name: 'shop' }), call);
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
    expect(await control.getProject({ projectId: made.project.id }, call)).toEqual(made.project);
    expect(await control.getBranch({ projectId: made.project.id, branchId: made.branch.id }, call)).toEqual(
      made.branch,
    );
    const facts = await internal.getTimeline({ timelineId: timelineOf(made) });
    expect(facts).toMatchObject({
      ancestorLsn: TEMPLATE_LSN,
      systemIdentifier: 7_000_000_000_000_000_001n,
      pgVersion: 17,
    });
    expect((await internal.getTimeline({ timelineId: facts.ancestorId! })).ancestorId).toBeUndefined();
  });

  it('are listed page by page without gaps or repeats', async () => {
    for (let i = 0; i < 5; i++) await control.createProject(newProject({ name: `paged%_${i}` }), call);
    const seen: string[] = [];
    let cursor = '';
    do {
      const page = await control.listProjects({ cursor, limit: 2, search: 'paged%_' }, call);
      seen.push(...page.projects.map((p) => p.name));
      cursor = page.nextCursor;
    } while (cursor !== '');
    expect(seen.sort()).toEqual([0, 1, 2, 3, 4].map((i) => `paged%_${i}`));
    for (const bad of ['x', 'bnVsbA', Buffer.from('[1e99,"a"]').toString('base64url')]) {
      expect((await error(control.listProjects({ cursor: bad, limit: 2, search: '' }, call))).code).toBe(
        'bad-cursor',
      );
    }
  });

  it('refuse what they cannot be, saying what can', async () => {
    const code = async (over: object) => (await error(control.createProject(newProject(over), call))).code;
    expect(await code({ name: 'x'.repeat(257) })).toBe('name-too-long');
    expect(await code({ name: 'a\u0000b' })).toBe('bad-name');
    expect(await code({ pgVersion: 15 })).toBe('unsupported-pg-version');
    expect(await code({ databaseName: 'template1' })).toBe('reserved-name');
    expect(await code({ roleName: 'pg_monitor' })).toBe('reserved-name');
    expect(await code({ roleName: 'x'.repeat(64) })).toBe('name-too-long');
    expect(await code({ suspendTimeoutSeconds: -2 })).toBe('bad-suspend-timeout');
    expect((await error(control.getProject({ projectId: 'none-such-1' }, call))).code).toBe(
      'project-not-found',
    );
  });

  it('end with all their branches and computes', async () => {
    const made = await control.createProject(newProject(), call);
    const { computeId } = await internal.wake({ endpointId: made.endpoints[0]!.id });
    await control.deleteProject({ projectId: made.project.id }, call);
    expect(agent.stops).toContain(computeId);
    expect((await error(control.getProject({ projectId: made.project.id }, call))).code).toBe(
      'project-not-found',
    );
    expect((await error(internal.wake({ endpointId: made.endpoints[0]!.id }))).code).toBe(
      'endpoint-not-found',
    );
    expect(
      (
        await error(
          internal.getLogin({ endpointId: made.endpoints[0]!.id, role: 'neondb_owner', database: 'neondb' }),
        )
      ).code,
    ).toBe('endpoint-not-found');
  });
});

describe('pageservers', () => {
  it('get a larger generation each time they attach', async () => {
    const one = await internal.attachPageserver({ nodeId: 'ps-1', address: 'unix:/ps' });
    const two = await internal.attachPageserver({ nodeId: 'ps-1', address: 'unix:/ps' });
    expect(two.generation).toBeGreaterThan(one.generation);
  });
});

describe('operations', () => {
  it('are listed newest first, page by page, and found by id', async () => {
    const project = await control.createProject(newProject(), call);
    for (let i = 0; i < 3; i++) await fork(project.project.id);
    const first = await control.listOperations({ projectId: project.project.id, cursor: '', limit: 5 }, call);
    const rest = await control.listOperations(
      { projectId: project.project.id, cursor: first.nextCursor, limit: 5 },
      call,
    );
    expect([first.operations.length, rest.operations.length, rest.nextCursor]).toEqual([5, 3, '']);
    const [one] = first.operations;
    expect(await control.getOperation({ projectId: project.project.id, operationId: one!.id }, call)).toEqual(
      one,
    );
    expect(
      (await error(control.getOperation({ projectId: project.project.id, operationId: 'x' }, call))).code,
    ).toBe('operation-not-found');
  });
});
