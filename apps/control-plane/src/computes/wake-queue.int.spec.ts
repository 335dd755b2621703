/** Starts in line: left by who goes away, tried elsewhere, and with room made for them; and of branches as they were. */
import { type EndpointId, formatLsn, lsn, type ProjectId } from '@coppice/vocabulary';
import { CoppiceError, systemClock } from '@coppice/service-kit';
import type { BranchCreated, ProjectCreated } from '@coppice/contracts';
import { call, ControlPlaneWorld, errorOf, timelineOf } from '../testing/control-plane-world';
import type { TestAgent } from '../test-peers';
import { expectedBytes } from './compute-memory';

/** What one of the default size is expected to take. */
const ONE = expectedBytes(1);

let world: ControlPlaneWorld;
let made: ProjectCreated;
beforeAll(async () => {
  world = await ControlPlaneWorld.start();
  made = await world.project();
});
afterAll(() => world?.stop());
beforeEach(async () => {
  world.skewMs = 0;
  for (const agent of [world.agent, world.agent2]) {
    agent.startDelayMs = 5;
    agent.starting = { now: 0, most: 0 };
    agent.failures.length = 0;
    agent.lastUsed.clear();
  }
  await endAll();
});

const of = (b: { endpoints: readonly { id: string }[] }) => b.endpoints[0]!.id;
const sleepers = (n: number): Promise<string[]> =>
  Promise.all(Array.from({ length: n }, async () => of(await world.fork(made.project.id))));
const wake = (endpointId: string, signal?: AbortSignal) =>
  world.internal.wake({ endpointId }, signal ? { signal } : {});
const started = (agent: TestAgent, endpointId: string) =>
  agent.starts.filter((s) => s.endpointId === endpointId).length;

/** No compute runs, and only the first agent reports for duty. */
async function endAll(): Promise<void> {
  for (const agent of [world.agent, world.agent2]) agent.computes.clear();
  await world.server.query(
    "update computes set state = 'failed', ended_at = now() where state in ('starting', 'running', 'stopping'); delete from nodes where id = 'agent-2'",
  );
  await world.heartbeat(world.agent, world.now(), {});
}

describe('starts in line', () => {
  it('are forgotten when nobody waits for them any more, and shared while somebody does', async () => {
    const [first, second, left, kept] = (await sleepers(4)) as [string, string, string, string];
    world.agent.startDelayMs = 300;
    const busy = [wake(first), wake(second)];
    await systemClock.sleep(150);
    const [leaver, other] = [new AbortController(), new AbortController()];
    const outcomes = Promise.allSettled([wake(left, leaver.signal), wake(kept, other.signal)]);
    const stays = wake(kept);
    await systemClock.sleep(50);
    leaver.abort();
    other.abort();
    await Promise.all([...busy, stays]);
    await outcomes;
    await systemClock.sleep(100);
    expect([started(world.agent, left), started(world.agent, kept)]).toEqual([0, 1]);
    expect(await world.server.query('select from computes where endpoint_id = $1', [left])).toHaveLength(0);
  });

  it('that fail are tried once more, on the other agent', async () => {
    const [endpoint] = (await sleepers(1)) as [string];
    await world.heartbeat(world.agent2, world.now(), {});
    const failure = () => new CoppiceError('Internal', 'broken-disk', 'the disk is broken');
    world.agent.failures.push(failure(), failure());
    await wake(endpoint);
    expect([world.agent, world.agent2].map((a) => started(a, endpoint))).toEqual([1, 1]);
    expect(world.agent2.computes.size).toBe(1);
  });

  it('go back in line when the agent has no room after all', async () => {
    const [endpoint] = (await sleepers(1)) as [string];
    const full = () =>
      new CoppiceError('Unavailable', 'agent-full', 'this agent runs 200 computes, its limit');
    world.agent.failures.push(full(), full(), full());
    await wake(endpoint);
    expect(started(world.agent, endpoint)).toBe(4);
  });
});

describe('room for a compute', () => {
  const holds = (n: number) => world.heartbeat(world.agent, 0, { memoryBytes: Math.round(ONE * (n + 0.5)) });
  const stoppedOf = (endpoints: readonly string[], runs: ReadonlyMap<string, string>) =>
    endpoints.filter((id) => world.agent.stops.includes(runs.get(id)!));

  it('is made by suspending the least recently used one that nobody uses', async () => {
    const endpoints = await sleepers(4);
    await holds(3);
    const runs = new Map<string, string>();
    for (const [i, id] of endpoints.slice(0, 3).entries()) {
      world.skewMs = i * 1_000;
      runs.set(id, (await wake(id)).computeId);
    }
    world.skewMs = 10_000;
    // The first one was used since its agent last reported.
    world.agent.lastUsed.set(runs.get(endpoints[0]!)!, world.now());
    await holds(3);
    await wake(endpoints[3]!);
    expect(stoppedOf(endpoints, runs)).toEqual([endpoints[1]]);
  });

  it('is not made of what is in use: the start is refused with the bound', async () => {
    const endpoints = await sleepers(3);
    await holds(2);
    for (const id of endpoints.slice(0, 2)) {
      const { computeId } = await wake(id);
      world.agent.lastUsed.set(computeId, world.now() + 60_000);
    }
    const refused = await errorOf(wake(endpoints[2]!));
    expect(refused).toMatchObject({ kind: 'Unavailable', code: 'no-room-for-compute' });
    expect(refused.clientText).toMatch(/agent-1 runs 2 computes.* MiB of .*COPPICE_AGENT_MEMORY_BYTES/);
  });
});

describe('a compute that is on its way to sleep', () => {
  it('is let come to its end before another is started, though its row was read before', async () => {
    const [endpoint] = (await sleepers(1)) as [string];
    const { computeId } = await wake(endpoint);
    const compute = world.agent.computes.get(computeId)!;
    world.agent.computes.set(computeId, { ...compute, state: 'stopping' });
    const again = wake(endpoint);
    await systemClock.sleep(300);
    expect(started(world.agent, endpoint)).toBe(1);
    await world.control.suspendEndpoint(
      { projectId: made.project.id as ProjectId, endpointId: endpoint as EndpointId },
      call,
    );
    expect((await again).computeId).not.toBe(computeId);
    const rows = await world.server.query('select state from computes where id = $1', [computeId]);
    expect(rows).toEqual([{ state: 'stopped' }]);
  });
});

describe('a compute that is idle', () => {
  it('is not suspended while its agent does not tell whether it is used', async () => {
    const [endpoint] = (await sleepers(1)) as [string];
    const { computeId } = await wake(endpoint);
    world.skewMs += 3_600_000;
    await world.heartbeat(world.agent, world.now() - 3_600_000, {});
    world.agent.lookFailures.push(...Array.from({ length: 50 }, () => new Error('too slow')));
    const sweep = async () => {
      const { computes } = await world.internal.suspendIdle({ limit: 10, dryRun: false });
      return computes.find((c) => c.computeId === computeId)?.suspended;
    };
    expect(await sweep()).toBe(false);
    world.agent.lookFailures.splice(0);
    expect(await sweep()).toBe(true);
  });
});

describe('a branch as it was', () => {
  const wakeAt = (endpointId: string, at: bigint, by = world.internal) =>
    by.wake({ endpointId, lsn: lsn(at) });
  let past: BranchCreated;
  beforeAll(async () => void (past = await world.fork(made.project.id)));

  it('runs on one compute for all who ask for that position, of whichever control-plane', async () => {
    const endpoint = of(past);
    await wake(endpoint);
    const early = world.quorum.commit(timelineOf(past));
    world.quorum.commit(timelineOf(past));
    const found = await Promise.all([
      wakeAt(endpoint, early),
      wakeAt(endpoint, early),
      wakeAt(endpoint, early, world.other),
    ]);
    expect(new Set(found.map((w) => w.computeId)).size).toBe(1);
    const [request] = world.agent.starts.filter((s) => s.computeId === found[0]!.computeId);
    // The stand-in's records begin at whole numbers.
    expect(formatLsn(request!.timelineStartLsn)).toBe(formatLsn(lsn(early - (early % 0x100n))));
    expect(request!.timelineId).not.toBe(timelineOf(past));
    const { endpoints } = await world.control.listEndpoints(
      { projectId: made.project.id as ProjectId },
      call,
    );
    expect(endpoints.map((e) => e.id)).not.toContain(request!.endpointId as EndpointId);
  });

  it('is suspended soon after its last use, and leaves nothing', async () => {
    const endpoint = of(past);
    await wake(endpoint);
    const early = world.quorum.commit(timelineOf(past));
    world.quorum.commit(timelineOf(past));
    const { computeId } = await wakeAt(endpoint, early);
    const { timelineId } = world.agent.computes.get(computeId)!;
    world.skewMs = 31_000;
    await world.heartbeat(world.agent, world.now() - 31_000, {});
    const { computes } = await world.internal.suspendIdle({ limit: 10, dryRun: false });
    expect(computes.find((c) => c.computeId === computeId)).toMatchObject({ suspended: true, failure: '' });
    await world.internal.sweep({ kind: 'deleted-timeline', limit: 100, dryRun: false });
    expect(world.quorum.deleted.map((d) => d.timelineId)).toContain(timelineId);
    expect(await world.server.query('select from timelines where id = $1', [timelineId])).toHaveLength(0);
    expect((await wakeAt(endpoint, early)).computeId).not.toBe(computeId);
  });

  it('goes back in line when its agent is full, and is tried once more where that failed', async () => {
    const endpoint = of(past);
    await wake(endpoint);
    const early = world.quorum.commit(timelineOf(past));
    world.quorum.commit(timelineOf(past));
    await world.heartbeat(world.agent2, world.now(), {});
    const full = new CoppiceError('Unavailable', 'agent-full', 'this agent runs 200 computes, its limit');
    const broken = new CoppiceError('Internal', 'broken-disk', 'the disk is broken');
    const startsOf = () => world.agent.starts.length + world.agent2.starts.length;
    const before = startsOf();
    for (const agent of [world.agent, world.agent2]) agent.failures.push(full);
    world.agent.failures.push(broken);
    expect((await wakeAt(endpoint, early)).computeId).toBeTruthy();
    expect(startsOf() - before).toBeGreaterThanOrEqual(3);
    for (const agent of [world.agent, world.agent2]) agent.failures.splice(0);
  });

  it('is refused where it never was', async () => {
    const endpoint = of(past);
    expect((await errorOf(wakeAt(endpoint, 0xff00000000n))).code).toBe('lsn-in-future');
    expect((await errorOf(wakeAt(endpoint, 1n))).code).toBe('lsn-before-history');
    const both = world.internal.wake({ endpointId: endpoint, lsn: lsn(1n), timestampUnixMicros: 5 });
    expect((await errorOf(both)).code).toBe('two-fork-points');
  });
});
