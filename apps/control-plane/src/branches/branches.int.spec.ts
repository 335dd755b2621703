/** What can be done with branches. */
import type { BranchCreated, ProjectCreated } from '@coppice/contracts';
import { CoppiceError, systemClock } from '@coppice/service-kit';
import { formatLsn, lsn } from '@coppice/vocabulary';
import { TEMPLATE_LSN } from '../test-peers';
import { call, ControlPlaneWorld, errorOf as error, RW, timelineOf } from '../testing/control-plane-world';

let world: ControlPlaneWorld;
const { headers } = call;

beforeAll(async () => {
  world = await ControlPlaneWorld.start();
});
afterAll(() => world?.stop());

describe('branches', () => {
  let project: ProjectCreated;
  beforeAll(async () => {
    project = await world.project({ name: 'tree' });
  });

  it('fork any branch at any depth at its head', async () => {
    let parent: BranchCreated = project;
    for (let depth = 1; depth <= 6; depth++) {
      const made = await world.fork(project.project.id, { parentId: parent.branch.id });
      expect(made.branch).toMatchObject({
        parentId: parent.branch.id,
        parentLsn: TEMPLATE_LSN,
        isDefault: false,
      });
      expect(made.databases).toMatchObject([{ name: 'neondb' }]);
      parent = made;
    }
    expect((await world.internal.getTimeline({ timelineId: timelineOf(parent) })).ancestorLsn).toBe(
      TEMPLATE_LSN,
    );
  });

  it('have passwords of their own, shown again on request, and no other role or branch is opened', async () => {
    const made = await world.fork(project.project.id);
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
    expect(await world.control.getConnectionUri(request, call)).toEqual(made.connectionUris[0]);
    expect((await world.control.getConnectionUri({ ...request, pooled: true }, call)).uri).toContain(
      '-pooler',
    );
    const pooled = {
      endpointId: `${made.endpoints[0]!.id}-pooler`,
      role: 'neondb_owner',
      database: 'neondb',
    };
    expect((await world.internal.getLogin(pooled)).branchId).toBe(made.branch.id);
    expect((await error(world.control.getConnectionUri({ ...request, roleName: 'nobody' }, call))).code).toBe(
      'role-not-found',
    );
    expect(
      (await error(world.control.getConnectionUri({ ...request, databaseName: 'none' }, call))).code,
    ).toBe('database-not-found');
    const login = await world.internal.getLogin({
      endpointId: made.endpoints[0]!.id,
      role: 'neondb_owner',
      database: 'neondb',
    });
    const parents = await world.internal.getLogin({
      endpointId: project.endpoints[0]!.id,
      role: 'neondb_owner',
      database: 'neondb',
    });
    expect(login.branchId).toBe(made.branch.id);
    expect(login.verifiers).toHaveLength(1);
    expect(login.verifiers[0]!.storedKey.equals(parents.verifiers[0]!.storedKey)).toBe(false);
    expect(
      await world.internal.getLogin({
        endpointId: made.endpoints[0]!.id,
        role: 'neondb_owner',
        database: 'neondb',
      }),
    ).toEqual(login);
    expect(
      (
        await world.internal.getLogin({
          endpointId: made.endpoints[0]!.id,
          role: 'nobody',
          database: 'neondb',
        })
      ).verifiers,
    ).toEqual([]);
  });

  it('start at the last commit of a running parent, and after a suspend at its final position', async () => {
    const parent = await world.fork(project.project.id);
    await world.control.startEndpoint(
      { projectId: project.project.id, endpointId: parent.endpoints[0]!.id },
      call,
    );
    const head = world.quorum.commit(timelineOf(parent));
    expect((await world.fork(project.project.id, { parentId: parent.branch.id })).branch.parentLsn).toBe(
      head,
    );
    const { endpoint, operations } = await world.control.suspendEndpoint(
      { projectId: project.project.id, endpointId: parent.endpoints[0]!.id },
      call,
    );
    expect(endpoint.state).toBe('idle');
    expect(operations).toMatchObject([{ action: 'suspend_compute', status: 'finished' }]);
    expect((await world.fork(project.project.id, { parentId: parent.branch.id })).branch.parentLsn).toBe(
      world.quorum.ends.get(timelineOf(parent)),
    );
  });

  it('that are asked for at once hold what was committed before, also when the compute of the parent is another', async () => {
    const parent = await world.fork(project.project.id);
    const ids = { projectId: project.project.id, endpointId: parent.endpoints[0]!.id };
    for (let round = 0; round < 10; round++) {
      if (round % 4 === 3) await world.control.restartEndpoint(ids, call);
      else if (round % 4 === 2) await world.control.suspendEndpoint(ids, call);
      else {
        await world.control.startEndpoint(ids, call);
        world.quorum.commit(timelineOf(parent));
      }
      const head = world.quorum.ends.get(timelineOf(parent))!;
      const forks = Array.from({ length: 8 }, async (_, i) => {
        if (i % 2 === 1) await systemClock.sleep(i);
        return world.fork(project.project.id, { parentId: parent.branch.id });
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
      asked.map((over) =>
        world.fork(project.project.id, over).catch((e: unknown) => (e as CoppiceError).code),
      ),
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
      const stored = await world.control.getBranch(
        { projectId: project.project.id, branchId: f.branch.id },
        call,
      );
      expect(stored.annotations).toEqual(over.annotations);
    }
    expect(new Set(forks.map((f) => f.databases[0]!.id)).size).toBe(forks.length);
  });

  it('start at the quorum head when the compute of the parent has crashed', async () => {
    const parent = await world.fork(project.project.id);
    const { computeId } = await world.internal.wake({ endpointId: parent.endpoints[0]!.id });
    const head = world.quorum.commit(timelineOf(parent));
    world.agent.computes.delete(computeId);
    expect((await world.fork(project.project.id, { parentId: parent.branch.id })).branch.parentLsn).toBe(
      head,
    );
  });

  it('start at the end of the record at a position, on whichever ancestor holds it', async () => {
    const parent = await world.fork(project.project.id);
    await world.internal.wake({ endpointId: parent.endpoints[0]!.id });
    const first = world.quorum.commit(timelineOf(parent));
    const second = world.quorum.commit(timelineOf(parent));
    const child = await world.fork(project.project.id, { parentId: parent.branch.id });
    await world.internal.wake({ endpointId: child.endpoints[0]!.id });
    world.quorum.commit(timelineOf(child));
    const grandchild = await world.fork(project.project.id, {
      parentId: child.branch.id,
      parentLsn: lsn(first + 5n),
    });
    expect(formatLsn(grandchild.branch.parentLsn!)).toBe(
      formatLsn(lsn(first + 5n - ((first + 5n) % 0x100n))),
    );
    expect((await world.internal.getTimeline({ timelineId: timelineOf(grandchild) })).ancestorId).toBe(
      timelineOf(parent),
    );
    expect(
      (await world.fork(project.project.id, { parentId: child.branch.id, parentLsn: TEMPLATE_LSN })).branch
        .parentLsn,
    ).toBe(TEMPLATE_LSN);
    const future = await error(
      world.fork(project.project.id, { parentId: parent.branch.id, parentLsn: lsn(second + 1n) }),
    );
    expect([future.code, future.remedy]).toEqual(['lsn-in-future', `The latest is ${formatLsn(second)}.`]);
    const past = await error(
      world.fork(project.project.id, { parentId: child.branch.id, parentLsn: lsn(TEMPLATE_LSN - 1n) }),
    );
    expect([past.code, past.remedy]).toEqual([
      'lsn-before-history',
      `The earliest is ${formatLsn(TEMPLATE_LSN)}.`,
    ]);
  });

  it('start at the last commit before a time', async () => {
    const parent = await world.fork(project.project.id);
    await world.internal.wake({ endpointId: parent.endpoints[0]!.id });
    const at = BigInt(world.now()) * 1000n;
    const first = world.quorum.commit(timelineOf(parent), at - 2_000n);
    world.quorum.commit(timelineOf(parent), at);
    const made = await world.fork(project.project.id, {
      parentId: parent.branch.id,
      parentTimestampUnixMicros: Number(at - 1_000n),
    });
    expect(made.branch).toMatchObject({
      parentLsn: first,
      parentTimestampUnixMs: Number((at - 1_000n) / 1000n),
    });
    const before = await world
      .fork(project.project.id, {
        parentId: parent.branch.id,
        parentTimestampUnixMicros: Number(at - 1_000_000n),
      })
      .catch((e: CoppiceError) => e.code);
    expect(typeof before === 'string' ? before : before.branch.parentLsn).toBe(
      typeof before === 'string' ? 'timestamp-before-history' : TEMPLATE_LSN,
    );
    expect(
      (
        await error(
          world.fork(project.project.id, { parentTimestampUnixMicros: Number(at + 3_600_000_000n) }),
        )
      ).code,
    ).toBe('timestamp-in-future');
    expect((await error(world.fork(project.project.id, { parentTimestampUnixMicros: 1_000_000 }))).code).toBe(
      'timestamp-before-history',
    );
  });

  it('are named once per project', async () => {
    await world.fork(project.project.id, { name: 'try-1' });
    expect((await error(world.fork(project.project.id, { name: 'try-1' }))).code).toBe('branch-name-taken');
    expect((await world.fork(project.project.id, { endpoints: [] })).connectionUris).toEqual([]);
    expect((await error(world.fork(project.project.id, { endpoints: [RW, RW] }))).code).toBe(
      'too-many-endpoints',
    );
    expect((await error(world.fork(project.project.id, { parentId: 'br-no-such-1' }))).code).toBe(
      'branch-not-found',
    );
    expect((await error(world.fork('no-project'))).code).toBe('project-not-found');
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
      world.control.createBranch(request, key),
      world.control.createBranch(request, key),
    ]);
    expect(second).toEqual(first);
    expect(await world.control.createBranch(request, key)).toEqual(first);
    expect((await error(world.control.createBranch({ ...request, name: 'twice' }, key))).code).toBe(
      'idempotency-key-reused',
    );
    const kept = await world.server.query<{ answer: unknown }>('select answer from idempotency_keys');
    expect(JSON.stringify(kept)).not.toContain('npg_');
  });

  it('are deleted without children only, with their computes, and never the default one', async () => {
    const parent = await world.fork(project.project.id);
    const child = await world.fork(project.project.id, { parentId: parent.branch.id });
    const { computeId } = await world.internal.wake({ endpointId: child.endpoints[0]!.id });
    const remove = (branchId: string) =>
      world.control.deleteBranch({ projectId: project.project.id, branchId }, call);
    expect((await error(remove(parent.branch.id))).code).toBe('branch-has-children');
    expect((await error(remove(project.branch.id))).code).toBe('default-branch');
    expect(await remove(child.branch.id)).toMatchObject({
      branch: { id: child.branch.id },
      operations: [{ status: 'finished' }],
    });
    expect(world.agent.stops).toContain(computeId);
    expect(
      (
        await error(
          world.control.getBranch({ projectId: project.project.id, branchId: child.branch.id }, call),
        )
      ).code,
    ).toBe('branch-not-found');
    await remove(parent.branch.id);
    expect((await error(remove(parent.branch.id))).code).toBe('branch-not-found');
  });

  it('are listed by name, one page after the other', async () => {
    const list = (over: object) =>
      world.control.listBranches(
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
