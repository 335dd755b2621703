/** Computes that are scaled while they run: real PostgreSQL, and real control groups where the tests may make some. */
import type { StartComputeRequest } from '@coppice/contracts';
import { systemClock } from '@coppice/service-kit';
import type { Client } from 'pg';
import { AgentWorld } from '../computes/agent-world.fixture';

jest.setTimeout(180_000);

/** Some seconds of one CPU. */
const WORK = 'select count(*)::int as n from generate_series(1, 20000000)';

describe('a compute that runs', () => {
  let world: AgentWorld;
  let request: StartComputeRequest;
  let client: Client;
  beforeAll(async () => (world = await AgentWorld.start()));
  afterAll(() => world?.dispose());
  const start = async (min: number, max: number): Promise<void> => {
    request = world.request({ computeUnits: max, minComputeUnits: min });
    const { socketDirectory } = await world.computes.start(request);
    client = await world.connect(socketDirectory);
  };
  afterEach(async () => {
    await world.computes.stop(request.computeId, true);
    await client.end();
  });

  const size = () => world.computes.get(request.computeId).status().size!;
  const most = () => Math.min(2, world.services.resources.nodeCpus);
  const isEnforced = () => world.services.resources.kind !== 'none';
  const setSizes = (min: number, max: number) =>
    world.computes.setLimits({ computeId: request.computeId, computeUnits: max, minComputeUnits: min });
  const until = async (holds: () => boolean, withinMs: number, mayBeLate = () => false): Promise<number> => {
    const began = systemClock.monotonic();
    while (!holds()) {
      const passedMs = systemClock.monotonic() - began;
      const isExcused = mayBeLate();
      if (passedMs > withinMs && !isExcused)
        throw new Error(`not within ${withinMs} ms: ${JSON.stringify(size())}`);
      await systemClock.sleep(10);
    }
    return systemClock.monotonic() - began;
  };
  /** CPUs that its processes use, and for how much of a second they are held back. */
  const measure = async (ms: number) => {
    const { group } = world.computes.get(request.computeId).running;
    const before = group.usage();
    await systemClock.sleep(ms);
    const after = group.usage();
    const perSecond = (of: 'cpuSeconds' | 'throttledSeconds') =>
      (1000 * (after[of] - before[of])) / (after.atMs - before.atMs);
    return { cpus: perSecond('cpuSeconds'), throttled: perSecond('throttledSeconds') };
  };

  it('grows within two seconds of load, drops no query for it, and is small again when that is over', async () => {
    await start(0.25, 2);
    const { pid } = (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]!;
    await systemClock.sleep(1_200);
    expect(size()).toMatchObject({ units: 0.25, minUnits: 0.25, maxUnits: 2 });
    const { group } = world.computes.get(request.computeId).running;
    const usages = [group.usage()];
    const query = client.query(WORK);
    // A machine that is busy with other things may not let it have the load: nearly all of what it may use, for two seconds.
    const hadNoLoad = (): boolean => {
      const now = group.usage();
      usages.push(now);
      while (usages.length > 2 && now.atMs - usages[1]!.atMs >= 2_000) usages.shift();
      const seconds = (now.atMs - usages[0]!.atMs) / 1000;
      return seconds < 2 || now.cpuSeconds - usages[0]!.cpuSeconds < 0.94 * 0.25 * seconds;
    };
    const grownMs = await until(() => size().units > 0.25, 2_000, hadNoLoad);
    const fullMs = grownMs + (await until(() => size().units === most(), 4_000));
    console.info(`larger after ${grownMs.toFixed(0)} ms, largest after ${fullMs.toFixed(0)} ms of load`);
    expect((await query).rows).toEqual([{ n: 20_000_000 }]);
    await until(() => size().units === 0.25, 9_000);
    expect((await client.query('select pg_backend_pid() as pid')).rows).toEqual([{ pid }]);
  });

  it('has no more than its size, and other sizes at once when its endpoint gets others', async () => {
    await start(0.25, 0.25);
    await systemClock.sleep(600);
    const query = client.query(WORK);
    await systemClock.sleep(700);
    if (isEnforced()) {
      const { cpus, throttled } = await measure(1_000);
      console.info(
        `at 0.25 CU ${cpus.toFixed(3)} CPUs are used, and ${throttled.toFixed(2)} s of a second waited`,
      );
      expect(cpus).toBeLessThan(0.32);
      expect(throttled).toBeGreaterThan(0.2);
    }
    expect(size().units).toBe(0.25);
    expect((await setSizes(1, 1)).size).toMatchObject({ units: 1, minUnits: 1, maxUnits: 1 });
    const larger = await measure(1_000);
    if (isEnforced()) expect(larger.cpus).toBeGreaterThan(0.35);
    await setSizes(0.25, 0.5);
    expect(size()).toMatchObject({ units: 0.5, minUnits: 0.25, maxUnits: 0.5 });
    if (isEnforced()) {
      await systemClock.sleep(300);
      expect((await measure(1_000)).cpus).toBeLessThan(0.6);
    }
    await setSizes(2, 2);
    expect((await query).rows).toEqual([{ n: 20_000_000 }]);
  });

  it('is charged its size over time, and is not held back while it starts', async () => {
    await start(0.5, 0.5);
    const { cpus } = await measure(200);
    expect(cpus).toBeDefined();
    const before = size().unitSeconds;
    await systemClock.sleep(1_000);
    const charged = size().unitSeconds - before;
    expect(charged).toBeGreaterThan(0.49);
    expect(charged).toBeLessThan(0.75);
    const [report] = (await world.computes.reports()).filter((r) => r.computeId === request.computeId);
    expect(report).toMatchObject({ computeUnits: 0.5, minComputeUnits: 0.5, maxComputeUnits: 0.5 });
    await world.computes.stop(request.computeId, false);
    const last = size().unitSeconds;
    await systemClock.sleep(100);
    expect(size().unitSeconds).toBe(last);
  });

  it('that has no sizes is neither limited nor charged', async () => {
    await start(0, 0);
    expect(world.computes.get(request.computeId).status().size).toBeUndefined();
  });
});
