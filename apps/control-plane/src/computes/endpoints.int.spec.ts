import type { BranchCreated, ProjectCreated } from '@coppice/contracts';
import { armFailpoint, CoppiceError, systemClock } from '@coppice/service-kit';
import { call, ControlPlaneWorld, errorOf, RW, timelineOf } from '../testing/control-plane-world';

let world: ControlPlaneWorld;
let made: ProjectCreated;
let projectId: string;
beforeAll(async () => void (world = await ControlPlaneWorld.start()));
afterAll(() => world?.stop());
beforeEach(async () => {
  world.skewMs = 0;
  await world.heartbeat(world.agent);
  made = await world.project();
  projectId = made.project.id;
});

const bare = () => world.fork(projectId, { endpoints: [] });
const endpointOf = (b: BranchCreated) => b.endpoints[0]!.id;
const create = (branchId: string, over: object = {}) =>
  world.control.createEndpoint({ projectId, branchId, endpoint: RW, ...over }, call);
const update = (endpointId: string, over: object) =>
  world.control.updateEndpoint({ projectId, endpointId, ...over }, call);
const start = (endpointId: string) => world.control.startEndpoint({ projectId, endpointId }, call);
const get = (endpointId: string) => world.control.getEndpoint({ projectId, endpointId }, call);
const wake = (endpointId: string) => world.internal.wake({ endpointId });
const codeOf = async (work: Promise<unknown>) => (await errorOf(work)).code;
const starts = async (endpointId: string) =>
  (await world.control.listOperations({ projectId }, call)).operations.filter(
    (o) => o.endpointId === endpointId && o.action === 'start_compute',
  );
const eventually = async (holds: () => Promise<boolean>): Promise<void> => {
  const until = systemClock.monotonic() + 10_000;
  while (!(await holds()) && systemClock.monotonic() < until) await systemClock.sleep(100);
  expect(await holds()).toBe(true);
};

describe('a start', () => {
  it('is told by one operation, and by none when the compute runs', async () => {
    const endpoint = endpointOf(made);
    const { operations } = await start(endpoint);
    expect(operations).toMatchObject([{ action: 'start_compute', status: 'finished' }]);
    expect((await start(endpoint)).operations).toEqual([]);
    expect(await starts(endpoint)).toMatchObject([{ id: operations[0]!.id }]);
  });

  it('that fails is told, too', async () => {
    const endpoint = endpointOf(made);
    const failure = new CoppiceError('Internal', 'broken-disk', 'the disk is broken');
    world.agent.failures.push(failure, failure);
    await errorOf(start(endpoint));
    world.agent.failures.length = 0;
    expect(await starts(endpoint)).toMatchObject([
      { status: 'failed', error: 'the disk is broken' },
      { status: 'failed' },
    ]);
  });

  it('again runs another compute with the same data', async () => {
    const endpoint = endpointOf(made);
    const { computeId } = await wake(endpoint);
    const head = world.quorum.commit(timelineOf(made));
    const { operations, endpoint: after } = await world.control.restartEndpoint(
      { projectId, endpointId: endpoint },
      call,
    );
    expect(operations.map((o) => o.action)).toEqual(['suspend_compute', 'start_compute']);
    expect(after.state).toBe('active');
    expect((await wake(endpoint)).computeId).not.toBe(computeId);
    expect(world.quorum.ends.get(timelineOf(made))! > head).toBe(true);
  });
});

describe('an endpoint', () => {
  it('is made on a branch that has none, once', async () => {
    const { branch } = await bare();
    const { endpoint, operations } = await create(branch.id, {
      name: 'mine',
      endpoint: { ...RW, suspendTimeoutSeconds: 60, minComputeUnits: 0.5, maxComputeUnits: 2 },
    });
    expect(endpoint).toMatchObject({
      branchId: branch.id,
      name: 'mine',
      suspendTimeoutSeconds: 60,
      minComputeUnits: 0.5,
      maxComputeUnits: 2,
      state: 'idle',
    });
    expect(operations).toMatchObject([{ action: 'create_compute', status: 'finished' }]);
    expect((await wake(endpoint.id)).computeId).toBeDefined();
    expect(await codeOf(create(branch.id))).toBe('endpoint-exists');
    const race = await bare();
    const outcomes = await Promise.allSettled([create(race.branch.id), create(race.branch.id)]);
    expect(outcomes.map((o) => o.status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  it('that only reads is refused with what to do instead', async () => {
    const { branch } = await bare();
    const refused = await errorOf(create(branch.id, { endpoint: { ...RW, type: 'read_only' } }));
    expect(refused.code).toBe('unsupported-endpoint-type');
    expect(refused.remedy).toContain('read_only access');
  });

  it('takes other limits, which hold for what runs already', async () => {
    const endpoint = endpointOf(made);
    await wake(endpoint);
    const { endpoint: after } = await update(endpoint, { suspendTimeoutSeconds: 60, maxComputeUnits: 4 });
    expect(after).toMatchObject({ suspendTimeoutSeconds: 60, maxComputeUnits: 4, state: 'active' });
    world.skewMs = 61_000;
    const { computes } = await world.internal.suspendIdle({ limit: 10, dryRun: true });
    expect(computes.map((c) => c.endpointId)).toContain(endpoint);
    expect(await codeOf(update(endpoint, { minComputeUnits: 8 }))).toBe('bad-compute-size');
    expect(await codeOf(update(endpoint, { suspendTimeoutSeconds: -2 }))).toBe('bad-suspend-timeout');
  });

  it('takes other sizes, which its compute is told at once, or when its agent reports others', async () => {
    const endpoint = endpointOf(made);
    const { computeId } = await wake(endpoint);
    const told = () => world.agent.limits.filter((limits) => limits.computeId === computeId);
    expect(world.agent.starts.at(-1)).toMatchObject({ computeUnits: 1, minComputeUnits: 0.25 });
    await update(endpoint, { minComputeUnits: 0.5, maxComputeUnits: 4 });
    expect(told()).toEqual([{ computeId, computeUnits: 4, minComputeUnits: 0.5 }]);
    await update(endpoint, { suspendTimeoutSeconds: 60 });
    await world.heartbeat(world.agent);
    expect(told()).toHaveLength(1);

    world.agent.limitFailures.push(new CoppiceError('Unavailable', 'busy', 'not now'));
    expect((await update(endpoint, { maxComputeUnits: 8 })).endpoint).toMatchObject({ maxComputeUnits: 8 });
    expect(told()).toHaveLength(1);
    await world.heartbeat(world.agent);
    expect(told().at(-1)).toEqual({ computeId, computeUnits: 8, minComputeUnits: 0.5 });
    const { computes } = await world.internal.listRunning({});
    expect(computes.find((c) => c.computeId === computeId)).toMatchObject({ computeUnits: 0.5 });
  });

  it('that is disabled is suspended and does not start until it is enabled', async () => {
    const endpoint = endpointOf(made);
    const { computeId } = await wake(endpoint);
    const head = world.quorum.commit(timelineOf(made));
    const { endpoint: after } = await update(endpoint, { disabled: true });
    expect(after).toMatchObject({ disabled: true, state: 'idle' });
    expect(world.agent.stops).toContain(computeId);
    const refused = await errorOf(wake(endpoint));
    expect([refused.kind, refused.code]).toEqual(['Conflict', 'endpoint-disabled']);
    expect((await world.fork(projectId)).branch.parentLsn! > head).toBe(true);
    await update(endpoint, { disabled: false });
    await wake(endpoint);
  });

  it('moves to another branch with its address, and serves that', async () => {
    const endpoint = endpointOf(made);
    const { computeId } = await wake(endpoint);
    const other = await bare();
    const { endpoint: moved } = await update(endpoint, { branchId: other.branch.id });
    expect(moved).toMatchObject({ branchId: other.branch.id, state: 'idle' });
    expect(world.agent.stops).toContain(computeId);
    const { computeId: next } = await wake(endpoint);
    expect(world.agent.computes.get(next)!.timelineId).toBe(timelineOf(other));
    const { branchId } = await world.internal.getLogin({
      endpointId: endpoint,
      role: 'neondb_owner',
      database: 'neondb',
    });
    expect(branchId).toBe(other.branch.id);
    const second = await world.fork(projectId);
    expect(await codeOf(update(endpoint, { branchId: second.branch.id }))).toBe('endpoint-exists');
    expect((await get(endpoint)).branchId).toBe(other.branch.id);
    const foreign = await world.project();
    expect(await codeOf(update(endpoint, { branchId: foreign.branch.id }))).toBe('branch-not-found');
  });

  it('that is deleted ends its compute in good order, and its branch can have another', async () => {
    const endpoint = endpointOf(made);
    const { computeId } = await wake(endpoint);
    const deleted = await world.control.deleteEndpoint({ projectId, endpointId: endpoint }, call);
    expect(deleted.endpoint).toMatchObject({ id: endpoint, state: 'idle' });
    expect(world.agent.stops).toContain(computeId);
    expect(await codeOf(get(endpoint))).toBe('endpoint-not-found');
    expect(await codeOf(wake(endpoint))).toBe('endpoint-not-found');
    expect((await world.fork(projectId)).branch.parentLsn).toBe(world.quorum.ends.get(timelineOf(made)));
    await wake((await create(made.branch.id)).endpoint.id);
  });

  it.each([
    ['disabled', (id: string) => update(id, { disabled: true })],
    ['deleted', (id: string) => world.control.deleteEndpoint({ projectId, endpointId: id }, call)],
  ])('that is %s loses its compute also when the control-plane dies before it ends it', async (_, change) => {
    const endpoint = endpointOf(made);
    const { computeId } = await wake(endpoint);
    const disarm = armFailpoint('endpoint-before-ending-computes', 'error');
    await errorOf(change(endpoint));
    disarm();
    await eventually(async () => !world.agent.computes.has(computeId));
  });

  it('is not started by a wake that began before it was disabled', async () => {
    const endpoints = await Promise.all(
      Array.from({ length: 10 }, async () => endpointOf(await world.fork(projectId))),
    );
    await Promise.all(
      endpoints.map(async (id, i) => {
        const woken = (i % 2 ? world.internal : world.other).wake({ endpointId: id }).catch(() => undefined);
        await systemClock.sleep(i);
        await update(id, { disabled: true });
        await woken;
      }),
    );
    for (const id of endpoints) expect((await get(id)).state).toBe('idle');
  });

  it('of another project is not found', async () => {
    const foreign = await world.project();
    const ref = { projectId, endpointId: endpointOf(foreign) };
    for (const work of [
      () => world.control.updateEndpoint({ ...ref, name: 'x' }, call),
      () => world.control.deleteEndpoint(ref, call),
      () => world.control.restartEndpoint(ref, call),
    ])
      expect(await codeOf(work())).toBe('endpoint-not-found');
  });
});
