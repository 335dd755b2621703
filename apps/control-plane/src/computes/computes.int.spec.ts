/** How computes start, are suspended and fail. */
import type { ProjectCreated } from '@coppice/contracts';
import { CoppiceError, systemClock } from '@coppice/service-kit';
import type { TestPostgres } from '@coppice/testing';
import { TEMPLATE_LSN, type TestAgent, type TestQuorum } from '../test-peers';
import {
  AGENT_DEAD_AFTER_MS,
  call,
  type Control,
  ControlPlaneWorld,
  errorOf as error,
  type Internal,
  timelineOf,
} from '../testing/control-plane-world';

let world: ControlPlaneWorld;
let server: TestPostgres;
let control: Control;
let internal: Internal;
let other: Internal;
let agent: TestAgent;
let agent2: TestAgent;
let quorum: TestQuorum;
const newProject = (over: object = {}): object => over;
const fork: ControlPlaneWorld['fork'] = (projectId, over) => world.fork(projectId, over);
const heartbeat: ControlPlaneWorld['heartbeat'] = (of, at) => world.heartbeat(of, at);

beforeAll(async () => {
  world = await ControlPlaneWorld.start();
  ({ server, control, internal, other, agent, agent2, quorum } = world);
});
afterAll(() => world?.stop());

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
