/** How far keys reach, and that nothing that a caller sends is a failure of ours. */
import type { CoppiceError } from '@coppice/service-kit';
import { sql } from 'kysely';
import { as, call, ControlPlaneWorld, errorOf } from '../testing/control-plane-world';

let world: ControlPlaneWorld;

beforeAll(async () => {
  world = await ControlPlaneWorld.start();
}, 60_000);
afterAll(() => world?.stop());

const codeOf = async (work: Promise<unknown>): Promise<string> => (await errorOf(work)).code;

async function newAgent() {
  const made = await world.fleet.createAgent({}, call);
  return { id: made.agent.id, key: as(made.apiKey.secret) };
}

describe('the key of a branch', () => {
  async function twoBranches() {
    const { key } = await newAgent();
    const made = await world.project({}, key);
    const projectId = made.project.id;
    const fork = await world.fork(projectId, {}, key);
    const { secret } = await world.fleet.createApiKey({ projectId, branchId: fork.branch.id }, key);
    return { projectId, made, fork, ofBranch: as(secret) };
  }

  it('sees the operations of its branch only', async () => {
    const { projectId, made, fork, ofBranch } = await twoBranches();
    const { operations } = await world.control.listOperations({ projectId }, ofBranch);
    expect(operations.length).toBeGreaterThan(0);
    expect(new Set(operations.map((o) => o.branchId))).toEqual(new Set([fork.branch.id]));
    const operationId = made.operations[0]!.id;
    expect(await codeOf(world.control.getOperation({ projectId, operationId }, ofBranch))).toBe(
      'operation-not-found',
    );
  });

  it('sees what its branch used, not what the project did', async () => {
    const { projectId, fork, ofBranch } = await twoBranches();
    const now = world.now();
    const span = { fromUnixMs: now - 1_000, toUnixMs: now, granularity: 'hourly' };
    const ask = (request: object) => world.fleet.getConsumption({ ...span, ...request }, ofBranch);
    expect(await codeOf(ask({ by: 'project' }))).toBe('key-scope');
    expect(await codeOf(ask({ by: 'project', projectIds: [projectId] }))).toBe('key-scope');
    await sql`insert into usage_hours (branch_id, hour, project_id, agent_id) select ${fork.branch.id}, date_trunc('hour', now(), 'UTC'), id, agent_id
      from projects where id = ${projectId}`.execute(world.catalog.db);
    expect((await ask({ by: 'branch' })).rows.map((r) => r.branchId)).toEqual([fork.branch.id]);
  });

  it('is not told on which branch an endpoint is that it does not open', async () => {
    const { projectId, made, ofBranch } = await twoBranches();
    const endpointId = made.endpoints[0]!.id;
    const refused = await errorOf(world.control.getEndpoint({ projectId, endpointId }, ofBranch));
    expect(refused.code).toBe('endpoint-not-found');
    expect(refused.message).not.toContain(made.branch.id);
  });
});

describe('input that nothing can be stored of', () => {
  const bad = 'a\0b';
  const kindOf = async (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'answered',
      (e: unknown) => (e as CoppiceError).kind,
    );

  it('is refused or finds nothing, and is never a failure of ours', async () => {
    const { key } = await newAgent();
    const { project } = await world.project({}, key);
    const projectId = project.id;
    const cursor = (k: unknown, id = 'x') => Buffer.from(JSON.stringify([k, id])).toString('base64url');
    const uuid = '00000000-0000-4000-8000-000000000000';
    const now = world.now();
    const span = { fromUnixMs: now - 1_000, toUnixMs: now, granularity: 'hourly' };
    const answers = await Promise.all(
      [
        world.fleet.listAudit({ taskId: bad }, key),
        world.fleet.listAudit({ agentId: bad }, key),
        world.fleet.listAudit({ cursor: cursor(1.5) }, key),
        world.fleet.listAudit({ cursor: cursor(-8.64e15) }, key),
        world.fleet.getConsumption({ ...span, by: 'task', taskId: bad }, key),
        world.fleet.getConsumption({ ...span, by: 'agent', agentId: bad }, call),
        world.fleet.getConsumption({ ...span, by: 'branch', projectIds: [projectId], branchIds: [bad] }, key),
        world.fleet.getConsumption({ ...span, by: 'agent', fromUnixMs: -9e15, toUnixMs: -8.9e15 }, key),
        world.fleet.getConsumption({ ...span, by: 'agent', fromUnixMs: -8e15, toUnixMs: 3.6e6 - 8e15 }, key),
        world.fleet.listApiKeys({ agentId: bad }, call),
        world.fleet.listAgents({ cursor: cursor(-8.64e15) }, call),
        world.control.listProjects({ cursor: cursor(-8.64e15) }, key),
        world.control.listOperations({ projectId, cursor: cursor(-8.64e15, uuid) }, key),
        world.control.createProject({ agentId: bad }, call),
        world.fleet.createAgent({ quotas: { branches: Number.MAX_SAFE_INTEGER } }, call),
        world.fleet.createApiKey({ name: bad }, key),
      ].map(kindOf),
    );
    expect(
      answers.filter((kind) => !['answered', 'Malformed', 'Invalid', 'NotFound'].includes(kind)),
    ).toEqual([]);
  });
});

describe('an agent', () => {
  it('is deleted with its projects when that is said', async () => {
    const { id, key } = await newAgent();
    const { project } = await world.project({}, key);
    await world.project({}, key);
    expect(await codeOf(world.fleet.deleteAgent({ agentId: id }, call))).toBe('agent-has-projects');
    await world.fleet.deleteAgent({ agentId: id, withProjects: true }, call);
    expect(await codeOf(world.control.getProject({ projectId: project.id }, call))).toBe('project-not-found');
    expect(await codeOf(world.fleet.getAgent({ agentId: id }, call))).toBe('agent-not-found');
  });

  it('keeps all of several changes made at once', async () => {
    const { id } = await newAgent();
    const set = (name: 'projects' | 'branches' | 'computes') =>
      world.fleet.updateAgent({ agentId: id, quotas: { [name]: 7 }, set: [name] }, call);
    await Promise.all([set('projects'), set('branches'), set('computes')]);
    const { quotas } = await world.fleet.getAgent({ agentId: id }, call);
    expect(quotas).toMatchObject({ projects: 7, branches: 7, computes: 7 });
  });

  it('may make new keys however many have expired', async () => {
    const { id, key } = await newAgent();
    await sql`insert into api_keys (agent_id, name, key_hash, scope, created_at, expires_at)
      select ${id}, 'old', sha256(convert_to(${id} || n, 'UTF8')), 'agent', now(), now() - interval '1 day' from generate_series(1, 1000) n`.execute(
      world.catalog.db,
    );
    const { key: made } = await world.fleet.createApiKey({ name: 'new' }, key);
    expect((await world.fleet.listApiKeys({}, key)).keys.map((k) => k.id)).toContain(made.id);
  });
});
