import type { CoppiceError } from '@coppice/service-kit';
import { sql } from 'kysely';
import { ControlPlaneWorld, OPERATOR_KEY } from '../testing/control-plane-world';

let world: ControlPlaneWorld;
const with_ = (key: string, task?: string) => ({
  headers: { authorization: `Bearer ${key}`, ...(task === undefined ? {} : { 'x-task-id': task }) },
});
const operator = with_(OPERATOR_KEY);
const code = async (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => 'done',
    (error: unknown) => (error as CoppiceError).code,
  );

beforeAll(async () => {
  world = await ControlPlaneWorld.start();
}, 60_000);
afterAll(() => world?.stop());

const newAgent = async () => {
  const made = await world.fleet.createAgent({}, operator);
  return { id: made.agent.id, key: made.apiKey.secret };
};

describe('the audit log', () => {
  it('tells who did what to which branch for which task, newest first, page by page', async () => {
    const { id, key } = await newAgent();
    const { project } = await world.control.createProject({}, with_(key, 'job'));
    const projectId = project.id;
    const { branch } = await world.control.createBranch({ projectId }, with_(key, 'job/step-1'));
    await world.control.deleteBranch({ projectId, branchId: branch.id }, with_(key, 'job/step-2'));
    await world.control.createBranch({ projectId }, with_(key, 'jobs'));
    const tell = async (request: object, as = key) => {
      const told: string[] = [];
      let cursor = '';
      do {
        const page = await world.fleet.listAudit({ ...request, limit: 2, cursor }, with_(as));
        told.push(...page.entries.map((e) => `${e.action} ${e.taskId}`));
        cursor = page.nextCursor;
      } while (cursor !== '');
      return told;
    };
    expect(await tell({ projectId })).toEqual([
      'create-branch jobs',
      'delete-branch job/step-2',
      'create-branch job/step-1',
      'create-project job',
    ]);
    expect(await tell({ taskId: 'job' })).toHaveLength(3);
    expect(await tell({ branchId: branch.id })).toEqual([
      'delete-branch job/step-2',
      'create-branch job/step-1',
    ]);
    expect(await tell({ agentId: id }, OPERATOR_KEY)).toHaveLength(4);
    const [entry] = (await world.fleet.listAudit({ projectId, limit: 1 }, with_(key))).entries;
    expect(entry).toMatchObject({ agentId: id, projectId });
    expect(entry!.keyId).toBeGreaterThan(0);
  });

  it('shows nobody what others do', async () => {
    const [one, two] = [await newAgent(), await newAgent()];
    const { project } = await world.control.createProject({}, with_(one.key));
    expect((await world.fleet.listAudit({ projectId: project.id }, with_(two.key))).entries).toEqual([]);
    expect((await world.fleet.listAudit({ agentId: one.id }, with_(two.key))).entries).toEqual([]);
  });
});

describe('accounts', () => {
  it('tell of projects, branches, the agent and its tasks', async () => {
    const { id, key } = await newAgent();
    const made = await world.control.createProject({}, with_(key, 'job/a'));
    const projectId = made.project.id;
    const fork = await world.control.createBranch({ projectId }, with_(key, 'job/b'));
    const endpointId = made.endpoints[0]!.id;
    await world.internal.reportTransferred({ transfers: [{ endpointId, bytes: 700 }] });
    await sql`insert into usage_hours (branch_id, hour, project_id, agent_id, task_id, compute_unit_seconds, active_seconds, written_bytes, logical_bytes, own_bytes)
      values (${fork.branch.id}, date_trunc('hour', now(), 'UTC'), ${projectId}, ${id}, 'job/b', 20, 10, 300, 5000, 50)`.execute(
      world.catalog.db,
    );
    const span = { fromUnixMs: world.now() - 1_000, toUnixMs: world.now() + 3_600_000, granularity: 'daily' };
    const ask = async (request: object) => {
      const { rows } = await world.fleet.getConsumption({ ...span, ...request }, with_(key));
      return rows.map((r) => r.frames.map((f) => f.consumption).at(-1)!);
    };
    const all = { computeUnitSeconds: 20, activeSeconds: 10, writtenBytes: 300, transferredBytes: 700 };
    expect(await ask({ by: 'project', projectIds: [projectId] })).toMatchObject([{ ...all, ownBytes: 50 }]);
    expect(await ask({ by: 'agent' })).toMatchObject([all]);
    expect(await ask({ by: 'task', taskId: 'job' })).toMatchObject([all]);
    expect(await ask({ by: 'task', taskId: 'job/a' })).toMatchObject([
      { activeSeconds: 0, transferredBytes: 700 },
    ]);
    expect(await ask({ by: 'branch', projectIds: [projectId], branchIds: [fork.branch.id] })).toMatchObject([
      { activeSeconds: 10, transferredBytes: 0, logicalBytes: 5000 },
    ]);
    const { branches } = await world.control.listBranches({ projectId }, with_(key));
    expect(branches.find((b) => b.id === fork.branch.id)!.consumption).toMatchObject({ writtenBytes: 300 });
    expect((await world.control.getProject({ projectId }, with_(key))).consumption).toMatchObject({
      activeSeconds: 10,
    });
    const other = await newAgent();
    const theirs = (request: object) =>
      code(world.fleet.getConsumption({ ...span, ...request }, with_(other.key)));
    expect(await theirs({ by: 'project', projectIds: [projectId] })).toBe('project-not-found');
    expect(await theirs({ by: 'branch', projectIds: [projectId] })).toBe('project-not-found');
    expect(await theirs({ by: 'agent', agentId: id })).toBe('agent-not-found');
  });

  it('of a run are kept while it runs, and end with it', async () => {
    const { id, key } = await newAgent();
    const { project, branch, endpoints } = await world.control.createProject({}, with_(key));
    const of = { projectId: project.id, endpointId: endpoints[0]!.id };
    await world.control.startEndpoint(of, with_(key));
    world.skewMs += 30_000;
    await world.control.suspendEndpoint(of, with_(key));
    for (let i = 0; ; i += 1) {
      const use = (await world.control.getBranch({ projectId: project.id, branchId: branch.id }, with_(key)))
        .consumption!;
      if (use.activeSeconds >= 30 || i > 100) {
        expect(Math.round(use.activeSeconds)).toBe(30);
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    // Seconds of one CU: it ran for 30 s at the smallest size, which is where computes begin.
    const { usage } = await world.fleet.getAgent({ agentId: id }, operator);
    expect(usage.computeSeconds).toBeGreaterThanOrEqual(30 * 0.25);
    expect(usage.computeSeconds).toBeLessThan(15);
  });
});
