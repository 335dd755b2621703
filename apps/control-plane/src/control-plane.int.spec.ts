import type { BranchCreated, ProjectCreated } from '@coppice/contracts';
import { CoppiceError, systemClock } from '@coppice/service-kit';
import type { TestPostgres } from '@coppice/testing';
import { formatLsn, lsn } from '@coppice/vocabulary';
import { setupStatements } from './credentials/setup-sql';
import { TEMPLATE_LSN, type TestAgent, type TestQuorum } from './test-peers';
import {
  AGENT_DEAD_AFTER_MS,
  call,
  type Control,
  ControlPlaneWorld,
  errorOf as error,
  type Internal,
  RW,
  timelineOf,
} from './testing/control-plane-world';

let world: ControlPlaneWorld;
let server: TestPostgres;
let control: Control;
let internal: Internal;
let other: Internal;
let agent: TestAgent;
let agent2: TestAgent;
let quorum: TestQuorum;
const { headers } = call;
const newProject = (over: object = {}): object => over;
const fork: ControlPlaneWorld['fork'] = (projectId, over) => world.fork(projectId, over);
const heartbeat: ControlPlaneWorld['heartbeat'] = (of, at) => world.heartbeat(of, at);
const nowMs = (): number => world.now();

beforeAll(async () => {
  world = await ControlPlaneWorld.start({ template: 'later' });
  ({ server, control, internal, other, agent, agent2, quorum } = world);
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

describe('branches', () => {
  let project: ProjectCreated;
  beforeAll(async () => {
    project = await control.createProject(newProject({ name: 'tree' }), call);
  });

  it('fork any branch at any depth at its head', async () => {
    let parent: BranchCreated = project;
    for (let depth = 1; depth <= 6; depth++) {
      const made = await fork(project.project.id, { parentId: parent.branch.id });
      expect(made.branch).toMatchObject({
        parentId: parent.branch.id,
        parentLsn: TEMPLATE_LSN,
        isDefault: false,
      });
      expect(made.databases).toMatchObject([{ name: 'neondb' }]);
      parent = made;
    }
    expect((await internal.getTimeline({ timelineId: timelineOf(parent) })).ancestorLsn).toBe(TEMPLATE_LSN);
  });

  it('have passwords of their own, shown again on request, and no other role or branch is opened', async () => {
    const made = await fork(project.project.id);
    const passwords = new Set([made.connectionUris[0]!.password, project.connectionUris[0]!.password]);
    expect(passwords.size).toBe(2);
    const request = {
      projectId: project.project.id,
      branchId: made.branch.id,
      endpointId: '',
      databaseName: 'neondb',
      roleName: 'neondb_owner',
      pooled: false,
    };
    expect(await control.getConnectionUri(request, call)).toEqual(made.connectionUris[0]);
    expect((await control.getConnectionUri({ ...request, pooled: true }, call)).uri).toContain('-pooler');
    const pooled = {
      endpointId: `${made.endpoints[0]!.id}-pooler`,
      role: 'neondb_owner',
      database: 'neondb',
    };
    expect((await internal.getLogin(pooled)).branchId).toBe(made.branch.id);
    expect((await error(control.getConnectionUri({ ...request, roleName: 'nobody' }, call))).code).toBe(
      'role-not-found',
    );
    expect((await error(control.getConnectionUri({ ...request, databaseName: 'none' }, call))).code).toBe(
      'database-not-found',
    );
    const login = await internal.getLogin({
      endpointId: made.endpoints[0]!.id,
      role: 'neondb_owner',
      database: 'neondb',
    });
    const parents = await internal.getLogin({
      endpointId: project.endpoints[0]!.id,
      role: 'neondb_owner',
      database: 'neondb',
    });
    expect(login.branchId).toBe(made.branch.id);
    expect(login.verifiers).toHaveLength(1);
    expect(login.verifiers[0]!.storedKey.equals(parents.verifiers[0]!.storedKey)).toBe(false);
    expect(
      await internal.getLogin({
        endpointId: made.endpoints[0]!.id,
        role: 'neondb_owner',
        database: 'neondb',
      }),
    ).toEqual(login);
    expect(
      (await internal.getLogin({ endpointId: made.endpoints[0]!.id, role: 'nobody', database: 'neondb' }))
        .verifiers,
    ).toEqual([]);
  });

  it('start at the last commit of a running parent, and after a suspend at its final position', async () => {
    const parent = await fork(project.project.id);
    await control.startEndpoint({ projectId: project.project.id, endpointId: parent.endpoints[0]!.id }, call);
    const head = quorum.commit(timelineOf(parent));
    expect((await fork(project.project.id, { parentId: parent.branch.id })).branch.parentLsn).toBe(head);
    const { endpoint, operations } = await control.suspendEndpoint(
      { projectId: project.project.id, endpointId: parent.endpoints[0]!.id },
      call,
    );
    expect(endpoint.state).toBe('idle');
    expect(operations).toMatchObject([{ action: 'suspend_compute', status: 'finished' }]);
    expect((await fork(project.project.id, { parentId: parent.branch.id })).branch.parentLsn).toBe(
      quorum.ends.get(timelineOf(parent)),
    );
  });

  it('that are asked for at once hold what was committed before, also when the compute of the parent is another', async () => {
    const parent = await fork(project.project.id);
    const ids = { projectId: project.project.id, endpointId: parent.endpoints[0]!.id };
    for (let round = 0; round < 10; round++) {
      if (round % 4 === 3) await control.restartEndpoint(ids, call);
      else if (round % 4 === 2) await control.suspendEndpoint(ids, call);
      else {
        await control.startEndpoint(ids, call);
        quorum.commit(timelineOf(parent));
      }
      const head = quorum.ends.get(timelineOf(parent))!;
      const forks = Array.from({ length: 8 }, async (_, i) => {
        if (i % 2 === 1) await systemClock.sleep(i);
        return fork(project.project.id, { parentId: parent.branch.id });
      });
      const heads = (await Promise.all(forks)).map((f) => f.branch.parentLsn);
      expect(new Set(heads)).toEqual(new Set([head]));
    }
  });

  it('that are asked for at once are each what was asked for, and a name is given once', async () => {
    const asked = Array.from({ length: 24 }, (_, i) => ({
      name: i % 8 === 7 ? 'wanted-by-all' : `at-once-${i}`,
      annotations: { number: String(i) },
      endpoints: i % 3 === 0 ? [] : [RW],
    }));
    const made = await Promise.all(
      asked.map((over) => fork(project.project.id, over).catch((e: unknown) => (e as CoppiceError).code)),
    );
    const forks = made.filter((m) => typeof m !== 'string');
    expect(made.filter((m) => typeof m === 'string')).toEqual(['branch-name-taken', 'branch-name-taken']);
    expect(forks.filter((f) => f.branch.name === 'wanted-by-all')).toHaveLength(1);
    for (const f of forks) {
      const over = asked[Number(f.branch.annotations['number'])]!;
      expect(f.branch.name).toBe(over.name);
      expect(f.roles.map((r) => r.branchId)).toEqual([f.branch.id]);
      expect(f.databases).toMatchObject([{ name: 'neondb', branchId: f.branch.id }]);
      expect(f.connectionUris).toHaveLength(over.endpoints.length);
      const stored = await control.getBranch({ projectId: project.project.id, branchId: f.branch.id }, call);
      expect(stored.annotations).toEqual(over.annotations);
    }
    expect(new Set(forks.map((f) => f.databases[0]!.id)).size).toBe(forks.length);
  });

  it('start at the quorum head when the compute of the parent has crashed', async () => {
    const parent = await fork(project.project.id);
    const { computeId } = await internal.wake({ endpointId: parent.endpoints[0]!.id });
    const head = quorum.commit(timelineOf(parent));
    agent.computes.delete(computeId);
    expect((await fork(project.project.id, { parentId: parent.branch.id })).branch.parentLsn).toBe(head);
  });

  it('start at the end of the record at a position, on whichever ancestor holds it', async () => {
    const parent = await fork(project.project.id);
    await internal.wake({ endpointId: parent.endpoints[0]!.id });
    const first = quorum.commit(timelineOf(parent));
    const second = quorum.commit(timelineOf(parent));
    const child = await fork(project.project.id, { parentId: parent.branch.id });
    await internal.wake({ endpointId: child.endpoints[0]!.id });
    quorum.commit(timelineOf(child));
    const grandchild = await fork(project.project.id, {
      parentId: child.branch.id,
      parentLsn: lsn(first + 5n),
    });
    expect(formatLsn(grandchild.branch.parentLsn!)).toBe(
      formatLsn(lsn(first + 5n - ((first + 5n) % 0x100n))),
    );
    expect((await internal.getTimeline({ timelineId: timelineOf(grandchild) })).ancestorId).toBe(
      timelineOf(parent),
    );
    expect(
      (await fork(project.project.id, { parentId: child.branch.id, parentLsn: TEMPLATE_LSN })).branch
        .parentLsn,
    ).toBe(TEMPLATE_LSN);
    const future = await error(
      fork(project.project.id, { parentId: parent.branch.id, parentLsn: lsn(second + 1n) }),
    );
    expect([future.code, future.remedy]).toEqual(['lsn-in-future', `The latest is ${formatLsn(second)}.`]);
    const past = await error(
      fork(project.project.id, { parentId: child.branch.id, parentLsn: lsn(TEMPLATE_LSN - 1n) }),
    );
    expect([past.code, past.remedy]).toEqual([
      'lsn-before-history',
      `The earliest is ${formatLsn(TEMPLATE_LSN)}.`,
    ]);
  });

  it('start at the last commit before a time', async () => {
    const parent = await fork(project.project.id);
    await internal.wake({ endpointId: parent.endpoints[0]!.id });
    const at = BigInt(nowMs()) * 1000n;
    const first = quorum.commit(timelineOf(parent), at - 2_000n);
    quorum.commit(timelineOf(parent), at);
    const made = await fork(project.project.id, {
      parentId: parent.branch.id,
      parentTimestampUnixMicros: Number(at - 1_000n),
    });
    expect(made.branch).toMatchObject({
      parentLsn: first,
      parentTimestampUnixMs: Number((at - 1_000n) / 1000n),
    });
    const before = await fork(project.project.id, {
      parentId: parent.branch.id,
      parentTimestampUnixMicros: Number(at - 1_000_000n),
    }).catch((e: CoppiceError) => e.code);
    expect(typeof before === 'string' ? before : before.branch.parentLsn).toBe(
      typeof before === 'string' ? 'timestamp-before-history' : TEMPLATE_LSN,
    );
    expect(
      (await error(fork(project.project.id, { parentTimestampUnixMicros: Number(at + 3_600_000_000n) })))
        .code,
    ).toBe('timestamp-in-future');
    expect((await error(fork(project.project.id, { parentTimestampUnixMicros: 1_000_000 }))).code).toBe(
      'timestamp-before-history',
    );
  });

  it('are named once per project', async () => {
    await fork(project.project.id, { name: 'try-1' });
    expect((await error(fork(project.project.id, { name: 'try-1' }))).code).toBe('branch-name-taken');
    expect((await fork(project.project.id, { endpoints: [] })).connectionUris).toEqual([]);
    expect((await error(fork(project.project.id, { endpoints: [RW, RW] }))).code).toBe('too-many-endpoints');
    expect((await error(fork(project.project.id, { parentId: 'br-no-such-1' }))).code).toBe(
      'branch-not-found',
    );
    expect((await error(fork('no-project'))).code).toBe('project-not-found');
  });

  it('answer a repeated idempotency key with the first answer, and refuse it for another request', async () => {
    const key = { headers: { ...headers, 'idempotency-key': 'same' } };
    const request = {
      projectId: project.project.id,
      parentId: '',
      name: 'once',
      parentTimestampUnixMicros: 0,
      endpoints: [RW],
      isProtected: false,
    };
    const [first, second] = await Promise.all([
      control.createBranch(request, key),
      control.createBranch(request, key),
    ]);
    expect(second).toEqual(first);
    expect(await control.createBranch(request, key)).toEqual(first);
    expect((await error(control.createBranch({ ...request, name: 'twice' }, key))).code).toBe(
      'idempotency-key-reused',
    );
    const kept = await server.query<{ answer: unknown }>('select answer from idempotency_keys');
    expect(JSON.stringify(kept)).not.toContain('npg_');
  });

  it('are deleted without children only, with their computes, and never the default one', async () => {
    const parent = await fork(project.project.id);
    const child = await fork(project.project.id, { parentId: parent.branch.id });
    const { computeId } = await internal.wake({ endpointId: child.endpoints[0]!.id });
    const remove = (branchId: string) =>
      control.deleteBranch({ projectId: project.project.id, branchId }, call);
    expect((await error(remove(parent.branch.id))).code).toBe('branch-has-children');
    expect((await error(remove(project.branch.id))).code).toBe('default-branch');
    expect(await remove(child.branch.id)).toMatchObject({
      branch: { id: child.branch.id },
      operations: [{ status: 'finished' }],
    });
    expect(agent.stops).toContain(computeId);
    expect(
      (await error(control.getBranch({ projectId: project.project.id, branchId: child.branch.id }, call)))
        .code,
    ).toBe('branch-not-found');
    await remove(parent.branch.id);
    expect((await error(remove(parent.branch.id))).code).toBe('branch-not-found');
  });

  it('are listed by name, one page after the other', async () => {
    const list = (over: object) =>
      control.listBranches(
        {
          projectId: project.project.id,
          cursor: '',
          limit: 3,
          search: '',
          sortBy: 'name',
          sortOrder: 'asc',
          ...over,
        },
        call,
      );
    const all = (await list({ limit: 1000 })).branches.map((b) => b.name);
    const seen: string[] = [];
    for (let page = await list({}); ; page = await list({ cursor: page.nextCursor })) {
      seen.push(...page.branches.map((b) => b.name));
      if (page.nextCursor === '') break;
    }
    expect(seen).toEqual(all);
    expect(all.length).toBeGreaterThan(5);
    expect((await error(list({ limit: 10_001 }))).code).toBe('bad-limit');
  });
});

describe('computes', () => {
  let project: ProjectCreated;
  let endpointId: string;
  beforeEach(async () => {
    world.skewMs = 0;
    await heartbeat(agent);
    project = await control.createProject(newProject({ suspendTimeoutSeconds: 300 }), call);
    endpointId = project.endpoints[0]!.id;
  });

  it('start once for many wakes, also through two control-planes', async () => {
    agent.startDelayMs = 100;
    const wakes = await Promise.all(
      [1, 2, 3, 4, 5, 6, 7, 8].map((n) => (n % 2 ? internal : other).wake({ endpointId })),
    );
    agent.startDelayMs = 5;
    expect(new Set(wakes.map((w) => w.computeId)).size).toBe(1);
    expect(
      new Set(agent.starts.filter((s) => s.endpointId === endpointId).map((s) => s.computeId)).size,
    ).toBe(1);
    expect(wakes[0]).toMatchObject({ socketDirectory: '/run/x', port: 5432 });
    expect(wakes.map((w) => w.started)).toEqual(wakes.map(() => true));
    expect((await internal.wake({ endpointId })).started).toBe(false);
    expect((await control.getEndpoint({ projectId: project.project.id, endpointId }, call)).state).toBe(
      'active',
    );
  });

  it('start again with a larger fencing token when the running one is gone', async () => {
    const first = await internal.wake({ endpointId });
    agent.computes.delete(first.computeId);
    const second = await internal.wake({ endpointId });
    expect(second.computeId).not.toBe(first.computeId);
    const tokens = agent.starts.filter((s) => s.endpointId === endpointId).map((s) => s.fencingToken);
    expect(tokens).toEqual([1, 2]);
  });

  it('are tried once more, elsewhere when there is another agent', async () => {
    await heartbeat(agent2);
    const failure = () => new CoppiceError('Internal', 'boom', 'cannot start');
    agent.failures.push(failure());
    agent2.failures.push(failure());
    const refused = await error(internal.wake({ endpointId }));
    expect([refused.kind, refused.code]).toEqual(['Unavailable', 'compute-start-failed']);
    expect(refused.clientText).toMatch(/did not start in 2 attempts.*cannot start.*Connect again/);
    expect([agent, agent2].map((a) => a.starts.filter((s) => s.endpointId === endpointId).length)).toEqual([
      1, 1,
    ]);
    expect((await internal.wake({ endpointId })).computeId).toMatch(/^compute-/);
    await server.query(
      "update computes set state = 'stopped' where node_id = 'agent-2'; delete from nodes where id = 'agent-2'",
    );
  });

  it('run the set-up of a project with names of its own until a start has succeeded, on forks, too', async () => {
    const named = await control.createProject(
      newProject({ databaseName: 'shop', roleName: "o'brien" }),
      call,
    );
    expect(named.roles[0]!.name).toBe("o'brien");
    const early = await fork(named.project.id);
    const setup = async (id: string) => {
      const { computeId } = await internal.wake({ endpointId: id });
      return [agent, agent2].flatMap((a) => a.starts).find((s) => s.computeId === computeId)!.setupSql;
    };
    expect(await setup(named.endpoints[0]!.id)).toHaveLength(2);
    expect(await setup(early.endpoints[0]!.id)).toHaveLength(2);
    const late = await fork(named.project.id);
    expect(await setup(late.endpoints[0]!.id)).toEqual([]);
    const past = await fork(named.project.id, { parentLsn: TEMPLATE_LSN });
    expect((await setup(past.endpoints[0]!.id)).filter((s) => s.includes('rename'))).toHaveLength(2);
  });

  it('are suspended when they have been idle for long enough, and only then', async () => {
    const { computeId } = await internal.wake({ endpointId });
    await heartbeat(agent);
    const due = async (dryRun: boolean) =>
      (await internal.suspendIdle({ limit: 100, dryRun })).computes.filter((c) => c.computeId === computeId);
    // The agent goes on reporting, else its computes would count as lost: it may be looked for at any moment.
    const passUntil = async (skewMs: number): Promise<void> => {
      while (world.skewMs < skewMs) {
        world.skewMs = Math.min(skewMs, world.skewMs + 5_000);
        await heartbeat(agent, 0);
      }
    };
    expect(await due(true)).toEqual([]);
    await passUntil(290_000);
    expect(await due(false)).toEqual([]);
    await passUntil(302_000);
    expect(await due(true)).toMatchObject([{ endpointId, suspended: false }]);
    expect((await internal.suspendIdle({ limit: 1, dryRun: true })).running).toBeGreaterThan(0);
    await heartbeat(agent);
    expect(await due(true)).toEqual([]);
    await passUntil(610_000);
    expect(await due(true)).toHaveLength(1);
    await internal.wake({ endpointId });
    expect(await due(false)).toEqual([]);
    await passUntil(920_000);
    expect(await due(false)).toMatchObject([{ suspended: true, failure: '' }]);
    expect(agent.stops).toContain(computeId);
    const branch = await fork(project.project.id);
    expect(branch.branch.parentLsn).toBe(quorum.ends.get(timelineOf(project)));
  });

  it('never fall idle when the project says so', async () => {
    const awake = await control.createProject(newProject({ suspendTimeoutSeconds: -1 }), call);
    const { computeId } = await internal.wake({ endpointId: awake.endpoints[0]!.id });
    await heartbeat(agent);
    world.skewMs = 10_000_000;
    expect(
      (await internal.suspendIdle({ limit: 100, dryRun: true })).computes.map((c) => c.computeId),
    ).not.toContain(computeId);
  });

  it('fail with their agent, be it restarted or silent, and start again', async () => {
    const before = await internal.wake({ endpointId });
    agent.computes.clear();
    agent.incarnation = 'i2';
    await heartbeat(agent);
    expect((await internal.listRunning({})).computes.map((c) => c.computeId)).not.toContain(before.computeId);
    const again = await internal.wake({ endpointId });
    expect(again.computeId).not.toBe(before.computeId);
    world.skewMs = AGENT_DEAD_AFTER_MS + 1_000;
    for (let i = 0; i < 50; i++) {
      if (!(await internal.listRunning({})).computes.some((c) => c.computeId === again.computeId)) break;
      await systemClock.sleep(100);
    }
    expect((await internal.listRunning({})).computes.map((c) => c.computeId)).not.toContain(again.computeId);
  });

  it('that nobody wants are stopped when their agent reports them', async () => {
    const { computeId } = await internal.wake({ endpointId });
    await server.query("update computes set state = 'failed' where id = $1", [computeId]);
    await heartbeat(agent);
    expect(agent.stops).toContain(computeId);
  });

  it('that were left starting or stopping by a dead process are joined', async () => {
    const { computeId } = await internal.wake({ endpointId });
    await server.query("update computes set state = 'stopping' where id = $1", [computeId]);
    const next = await internal.wake({ endpointId });
    expect(next.computeId).not.toBe(computeId);
    await server.query("update computes set state = 'starting' where id = $1", [next.computeId]);
    expect((await internal.wake({ endpointId })).computeId).toBe(next.computeId);
  });

  it('wait for an agent to come back instead of failing', async () => {
    await agent.stop();
    await server.query("delete from nodes where id = 'agent-2'");
    const woken = internal.wake({ endpointId });
    await systemClock.sleep(300);
    await agent.serve();
    agent.incarnation = 'i3';
    await heartbeat(agent);
    expect((await woken).computeId).toMatch(/^compute-/);
  });
});

describe('set-up statements', () => {
  it('rename the role and the database, once, whatever the names hold', async () => {
    await server.query('create role neondb_owner login');
    await server.query('create database neondb owner neondb_owner');
    const names = ['o\'br"ien $x$', 'shop\\;--'] as const;
    for (let run = 0; run < 2; run++)
      for (const statement of setupStatements(...names)) await server.query(statement);
    const rows = await server.query<{ datname: string; owner: string }>(
      'select datname, rolname as owner from pg_database d join pg_roles r on r.oid = d.datdba where datname = $1',
      [names[1]],
    );
    expect(rows).toEqual([{ datname: names[1], owner: names[0] }]);
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
