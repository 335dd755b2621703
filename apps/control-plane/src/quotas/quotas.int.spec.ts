import { findTemplate } from '@coppice/catalog';
import type { CoppiceError } from '@coppice/service-kit';
import { sql } from 'kysely';
import { ControlPlaneWorld, OPERATOR_KEY } from '../testing/control-plane-world';

let world: ControlPlaneWorld;
const with_ = (key: string) => ({ headers: { authorization: `Bearer ${key}` } });
const operator = with_(OPERATOR_KEY);
const failure = async (call: Promise<unknown>): Promise<{ code: string; message: string }> =>
  call.then(
    () => ({ code: 'done', message: '' }),
    (error: unknown) => {
      const { code, clientText } = error as CoppiceError;
      return { code, message: clientText };
    },
  );
const codes = async (calls: readonly Promise<unknown>[]): Promise<Record<string, number>> => {
  const counts: Record<string, number> = {};
  for (const { code } of await Promise.all(calls.map(failure))) counts[code] = (counts[code] ?? 0) + 1;
  return counts;
};

beforeAll(async () => {
  world = await ControlPlaneWorld.start();
}, 60_000);
afterAll(() => world?.stop());

const newAgent = async (quotas: object) => {
  const made = await world.fleet.createAgent({ quotas }, operator);
  return { id: made.agent.id, key: with_(made.apiKey.secret) };
};
const usage = async (agentId: string) => (await world.fleet.getAgent({ agentId }, operator)).usage;
const counters = async (agentId: string) => (await world.quotas.read(agentId))?.counts;

describe('a limit on branches', () => {
  it('is never passed by one, whichever control-plane is asked, and says what to do', async () => {
    const { id, key } = await newAgent({ branches: 12 });
    const { project } = await world.control.createProject({}, key);
    const fork = (n: number) =>
      (n % 2 ? world.control : world.control2).createBranch({ projectId: project.id }, key);
    const counts = await codes(Array.from({ length: 60 }, (_, n) => fork(n)));
    expect(counts).toEqual({ done: 11, 'quota-exceeded': 49 });
    expect(await usage(id)).toMatchObject({ branches: 12 });
    expect((await failure(fork(0))).message).toMatch(/12 of at most 12 branches.*Delete branches/s);
  });

  it('holds while the counters are lost again and again', async () => {
    const { id, key } = await newAgent({ branches: 10 });
    const { project } = await world.control.createProject({}, key);
    let lose = true;
    const losing = (async () => {
      while (lose) {
        await world.quotas.forget(id);
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    for (let round = 0; round < 5; round += 1)
      await codes(
        Array.from({ length: 20 }, (_, n) =>
          (n % 2 ? world.control : world.control2).createBranch({ projectId: project.id }, key),
        ),
      );
    lose = false;
    await losing;
    expect((await usage(id)).branches).toBeLessThanOrEqual(10);
    await codes(Array.from({ length: 20 }, () => world.control.createBranch({ projectId: project.id }, key)));
    expect((await usage(id)).branches).toBe(10);
    expect(await counters(id)).toMatchObject({ projects: 1, branches: 10 });
  });

  it('is free again for what was deleted, and counts what is recovered', async () => {
    const { id, key } = await newAgent({ branches: 4 });
    const { project, branch } = await world.control.createProject({}, key);
    const projectId = project.id;
    const one = (await world.control.createBranch({ projectId, parentId: branch.id }, key)).branch;
    const two = (await world.control.createBranch({ projectId, parentId: one.id }, key)).branch;
    await world.control.createBranch({ projectId }, key);
    expect((await failure(world.control.createBranch({ projectId }, key))).code).toBe('quota-exceeded');
    await world.control.deleteBranch({ projectId, branchId: one.id, children: 'delete' }, key);
    await world.control.createBranch({ projectId }, key);
    expect((await failure(world.control.recoverBranch({ projectId, branchId: one.id }, key))).code).toBe(
      'quota-exceeded',
    );
    await world.fleet.updateAgent({ agentId: id, quotas: { branches: 5 }, set: ['branches'] }, operator);
    const back = await world.control.recoverBranch({ projectId, branchId: one.id }, key);
    expect(back.others.map((b) => b.id)).toEqual([two.id]);
    expect([await usage(id), await counters(id)]).toMatchObject([{ branches: 5 }, { branches: 5 }]);
    await world.control.deleteProject({ projectId }, key);
    expect((await failure(world.control.recoverProject({ projectId }, key))).code).toBe('done');
    expect(await usage(id)).toMatchObject({ projects: 1, branches: 5 });
  });
});

describe('a limit on projects', () => {
  it('is never passed', async () => {
    const { id, key } = await newAgent({ projects: 3 });
    const counts = await codes(Array.from({ length: 12 }, () => world.control.createProject({}, key)));
    expect(counts).toEqual({ done: 3, 'quota-exceeded': 9 });
    expect(await usage(id)).toMatchObject({ projects: 3, branches: 3 });
  });

  it('that is lowered keeps what there is and allows no more', async () => {
    const { id, key } = await newAgent({ projects: 3 });
    await world.control.createProject({}, key);
    const { project } = await world.control.createProject({}, key);
    await world.fleet.updateAgent({ agentId: id, quotas: { projects: 1 }, set: ['projects'] }, operator);
    expect((await failure(world.control.createProject({}, key))).code).toBe('quota-exceeded');
    await world.control.deleteProject({ projectId: project.id }, key);
    expect((await failure(world.control.createProject({}, key))).code).toBe('quota-exceeded');
  });
});

describe('a limit on computes', () => {
  it('is of those that run at once, and is free again when one is suspended', async () => {
    const { id, key } = await newAgent({ computes: 2 });
    const { project, endpoints } = await world.control.createProject({}, key);
    const projectId = project.id;
    const more = await Promise.all(
      [1, 2, 3].map(() =>
        world.control.createBranch({ projectId, endpoints: [{ type: 'read_write' }] }, key),
      ),
    );
    const all = [...endpoints, ...more.flatMap((m) => m.endpoints)].map((e) => e.id);
    const counts = await codes(
      all.map((endpointId) => world.control.startEndpoint({ projectId, endpointId }, key)),
    );
    expect(counts).toEqual({ done: 2, 'quota-exceeded': 2 });
    expect(await usage(id)).toMatchObject({ computes: 2 });
    const { endpoints: now } = await world.control.listEndpoints({ projectId }, key);
    const active = now.filter((e) => e.state === 'active').map((e) => e.id);
    const idle = all.find((e) => !active.includes(e))!;
    await world.control.suspendEndpoint({ projectId, endpointId: active[0]! }, key);
    expect((await failure(world.control.startEndpoint({ projectId, endpointId: idle }, key))).code).toBe(
      'done',
    );
    expect(await counters(id)).toMatchObject({ computes: 2 });
    await world.control.deleteProject({ projectId }, key);
    expect(await usage(id)).toMatchObject({ computes: 0, branches: 0 });
  });
});

describe('a limit on storage', () => {
  it('lets a new root grow by it from what its template holds, or from more while that is not known', async () => {
    const MIB = 1024 * 1024;
    const { key } = await newAgent({ storageBytes: 24 * MIB });
    const capOfNewRoot = async (): Promise<number> => {
      const { project, endpoints } = await world.control.createProject({}, key);
      const endpointId = endpoints[0]!.id;
      await world.control.startEndpoint({ projectId: project.id, endpointId }, key);
      const starts = [...world.agent.starts, ...world.agent2.starts];
      return starts.find((s) => s.endpointId === endpointId)!.storageLimitBytes / MIB;
    };
    expect(await capOfNewRoot()).toBe(32 + 24);
    const template = await findTemplate(world.catalog.db, 17);
    world.quorum.sizes.set(template!.timelineId, 25 * MIB);
    expect(await capOfNewRoot()).toBe(25 + 24);
  });
});

describe('a limit on compute seconds', () => {
  it('keeps a compute from starting, with words for a Postgres client', async () => {
    const { id, key } = await newAgent({ computeSeconds: 100 });
    const { project, endpoints } = await world.control.createProject({}, key);
    const of = { projectId: project.id, endpointId: endpoints[0]!.id };
    await world.control.startEndpoint(of, key);
    await world.control.suspendEndpoint(of, key);
    await sql`insert into agent_months (agent_id, month, compute_unit_seconds) values (${id}, date_trunc('month', now(), 'UTC'), 101)
      on conflict (agent_id, month) do update set compute_unit_seconds = 101`.execute(world.catalog.db);
    const refused = await failure(world.internal.wake({ endpointId: of.endpointId }));
    expect(refused).toMatchObject({ code: 'compute-seconds-exceeded' });
    expect(refused.message).toMatch(/101 of its 100 compute seconds.*Computes start again at/s);
  });

  it('ends what runs over it, also while the computes of others do not end', async () => {
    const run = async () => {
      const { id, key } = await newAgent({ computeSeconds: 100 });
      const { project, endpoints } = await world.control.createProject({}, key);
      await world.control.startEndpoint({ projectId: project.id, endpointId: endpoints[0]!.id }, key);
      return id;
    };
    const ids = [await run(), await run(), await run()];
    let release = (): void => undefined;
    // One for each control-plane.
    const stuck = new Set<string>();
    const held = new Promise<void>((resolve) => (release = resolve));
    world.agent.beforeStop = async (id) => {
      if (stuck.size < 2) stuck.add(id);
      if (stuck.has(id)) await held;
    };
    const states = async () => {
      const { rows } = await sql<{
        state: string;
      }>`select state from computes where agent_id = any(${ids}::text[]) order by state`.execute(
        world.catalog.db,
      );
      return rows.map((r) => r.state);
    };
    try {
      for (const id of ids)
        await sql`insert into agent_months (agent_id, month, compute_unit_seconds) values (${id}, date_trunc('month', now(), 'UTC'), 101)
          on conflict (agent_id, month) do update set compute_unit_seconds = 101`.execute(world.catalog.db);
      for (let i = 0; i < 80 && !(await states()).includes('stopped'); i += 1)
        await new Promise((resolve) => setTimeout(resolve, 100));
      expect(await states()).toEqual(['stopped', 'stopping', 'stopping']);
    } finally {
      release();
      world.agent.beforeStop = () => Promise.resolve();
    }
  }, 30_000);
});
