/** How computes start, are suspended and fail. */
import type { ProjectCreated } from '@coppice/contracts';
import { CoppiceError, systemClock } from '@coppice/service-kit';
import { TEMPLATE_LSN } from '../test-peers';
import {
  AGENT_DEAD_AFTER_MS,
  call,
  ControlPlaneWorld,
  errorOf as error,
  timelineOf,
} from '../testing/control-plane-world';

let world: ControlPlaneWorld;

beforeAll(async () => {
  world = await ControlPlaneWorld.start();
});
afterAll(() => world?.stop());

describe('computes', () => {
  let project: ProjectCreated;
  let endpointId: string;
  beforeEach(async () => {
    world.skewMs = 0;
    await world.heartbeat(world.agent);
    project = await world.project({ suspendTimeoutSeconds: 300 });
    endpointId = project.endpoints[0]!.id;
  });

  it('start once for many wakes, also through two control-planes', async () => {
    world.agent.startDelayMs = 100;
    const wakes = await Promise.all(
      [1, 2, 3, 4, 5, 6, 7, 8].map((n) => (n % 2 ? world.internal : world.other).wake({ endpointId })),
    );
    world.agent.startDelayMs = 5;
    expect(new Set(wakes.map((w) => w.computeId)).size).toBe(1);
    expect(
      new Set(world.agent.starts.filter((s) => s.endpointId === endpointId).map((s) => s.computeId)).size,
    ).toBe(1);
    expect(wakes[0]).toMatchObject({ socketDirectory: '/run/x', port: 5432 });
    expect(wakes.map((w) => w.started)).toEqual(wakes.map(() => true));
    expect((await world.internal.wake({ endpointId })).started).toBe(false);
    expect((await world.control.getEndpoint({ projectId: project.project.id, endpointId }, call)).state).toBe(
      'active',
    );
  });

  it('start again with a larger fencing token when the running one is gone', async () => {
    const first = await world.internal.wake({ endpointId });
    world.agent.computes.delete(first.computeId);
    const second = await world.internal.wake({ endpointId });
    expect(second.computeId).not.toBe(first.computeId);
    const tokens = world.agent.starts.filter((s) => s.endpointId === endpointId).map((s) => s.fencingToken);
    expect(tokens).toEqual([1, 2]);
  });

  it('are tried once more, elsewhere when there is another agent', async () => {
    await world.heartbeat(world.agent2);
    const failure = () => new CoppiceError('Internal', 'boom', 'cannot start');
    world.agent.failures.push(failure());
    world.agent2.failures.push(failure());
    const refused = await error(world.internal.wake({ endpointId }));
    expect([refused.kind, refused.code]).toEqual(['Unavailable', 'compute-start-failed']);
    expect(refused.clientText).toMatch(/did not start in 2 attempts.*cannot start.*Connect again/);
    expect(
      [world.agent, world.agent2].map((a) => a.starts.filter((s) => s.endpointId === endpointId).length),
    ).toEqual([1, 1]);
    expect((await world.internal.wake({ endpointId })).computeId).toMatch(/^compute-/);
    await world.server.query(
      "update computes set state = 'stopped' where node_id = 'agent-2'; delete from nodes where id = 'agent-2'",
    );
  });

  it('run the set-up of a project with names of its own until a start has succeeded, on forks, too', async () => {
    const named = await world.project({ databaseName: 'shop', roleName: "o'brien" });
    expect(named.roles[0]!.name).toBe("o'brien");
    const early = await world.fork(named.project.id);
    const setup = async (id: string) => {
      const { computeId } = await world.internal.wake({ endpointId: id });
      return [world.agent, world.agent2].flatMap((a) => a.starts).find((s) => s.computeId === computeId)!
        .setupSql;
    };
    expect(await setup(named.endpoints[0]!.id)).toHaveLength(2);
    expect(await setup(early.endpoints[0]!.id)).toHaveLength(2);
    const late = await world.fork(named.project.id);
    expect(await setup(late.endpoints[0]!.id)).toEqual([]);
    const past = await world.fork(named.project.id, { parentLsn: TEMPLATE_LSN });
    expect((await setup(past.endpoints[0]!.id)).filter((s) => s.includes('rename'))).toHaveLength(2);
  });

  it('are suspended when they have been idle for long enough, and only then', async () => {
    const { computeId } = await world.internal.wake({ endpointId });
    await world.heartbeat(world.agent);
    const due = async (dryRun: boolean) =>
      (await world.internal.suspendIdle({ limit: 100, dryRun })).computes.filter(
        (c) => c.computeId === computeId,
      );
    // The agent goes on reporting, else its computes would count as lost: it may be looked for at any moment.
    const passUntil = async (skewMs: number): Promise<void> => {
      while (world.skewMs < skewMs) {
        world.skewMs = Math.min(skewMs, world.skewMs + 5_000);
        await world.heartbeat(world.agent, 0);
      }
    };
    expect(await due(true)).toEqual([]);
    await passUntil(290_000);
    expect(await due(false)).toEqual([]);
    await passUntil(302_000);
    expect(await due(true)).toMatchObject([{ endpointId, suspended: false }]);
    expect((await world.internal.suspendIdle({ limit: 1, dryRun: true })).running).toBeGreaterThan(0);
    await world.heartbeat(world.agent);
    expect(await due(true)).toEqual([]);
    await passUntil(610_000);
    expect(await due(true)).toHaveLength(1);
    await world.internal.wake({ endpointId });
    expect(await due(false)).toEqual([]);
    await passUntil(920_000);
    expect(await due(false)).toMatchObject([{ suspended: true, failure: '' }]);
    expect(world.agent.stops).toContain(computeId);
    const branch = await world.fork(project.project.id);
    expect(branch.branch.parentLsn).toBe(world.quorum.ends.get(timelineOf(project)));
  });

  it('never fall idle when the project says so', async () => {
    const awake = await world.project({ suspendTimeoutSeconds: -1 });
    const { computeId } = await world.internal.wake({ endpointId: awake.endpoints[0]!.id });
    await world.heartbeat(world.agent);
    world.skewMs = 10_000_000;
    expect(
      (await world.internal.suspendIdle({ limit: 100, dryRun: true })).computes.map((c) => c.computeId),
    ).not.toContain(computeId);
  });

  it('fail with their agent, be it restarted or silent, and start again', async () => {
    const before = await world.internal.wake({ endpointId });
    world.agent.computes.clear();
    world.agent.incarnation = 'i2';
    await world.heartbeat(world.agent);
    expect((await world.internal.listRunning({})).computes.map((c) => c.computeId)).not.toContain(
      before.computeId,
    );
    const again = await world.internal.wake({ endpointId });
    expect(again.computeId).not.toBe(before.computeId);
    world.skewMs = AGENT_DEAD_AFTER_MS + 1_000;
    for (let i = 0; i < 50; i++) {
      if (!(await world.internal.listRunning({})).computes.some((c) => c.computeId === again.computeId))
        break;
      await systemClock.sleep(100);
    }
    expect((await world.internal.listRunning({})).computes.map((c) => c.computeId)).not.toContain(
      again.computeId,
    );
  });

  it('that nobody wants are stopped when their agent reports them', async () => {
    const { computeId } = await world.internal.wake({ endpointId });
    await world.server.query("update computes set state = 'failed' where id = $1", [computeId]);
    await world.heartbeat(world.agent);
    expect(world.agent.stops).toContain(computeId);
  });

  it('that were left starting or stopping by a dead process are joined', async () => {
    const { computeId } = await world.internal.wake({ endpointId });
    await world.server.query("update computes set state = 'stopping' where id = $1", [computeId]);
    const next = await world.internal.wake({ endpointId });
    expect(next.computeId).not.toBe(computeId);
    await world.server.query("update computes set state = 'starting' where id = $1", [next.computeId]);
    expect((await world.internal.wake({ endpointId })).computeId).toBe(next.computeId);
  });

  it('wait for an agent to come back instead of failing', async () => {
    await world.agent.stop();
    await world.server.query("delete from nodes where id = 'agent-2'");
    const woken = world.internal.wake({ endpointId });
    await systemClock.sleep(300);
    await world.agent.serve();
    world.agent.incarnation = 'i3';
    await world.heartbeat(world.agent);
    expect((await woken).computeId).toMatch(/^compute-/);
  });
});
