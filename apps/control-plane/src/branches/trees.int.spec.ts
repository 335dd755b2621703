import type { BranchCreated, BranchModel, ProjectCreated } from '@coppice/contracts';
import { armFailpoint, systemClock } from '@coppice/service-kit';
import { formatLsn } from '@coppice/vocabulary';
import {
  call,
  ControlPlaneWorld,
  errorOf,
  RECOVERY_WINDOW_MS,
  timelineOf,
} from '../testing/control-plane-world';

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

const fork = (parentId = '', over: object = {}) => world.fork(projectId, { parentId, ...over });
const remove = (branchId: string, over: object = {}) =>
  world.control.deleteBranch({ projectId, branchId, ...over }, call);
const recover = (branchId: string) => world.control.recoverBranch({ projectId, branchId }, call);
const get = (branchId: string) => world.control.getBranch({ projectId, branchId }, call);
const update = (branchId: string, over: object) =>
  world.control.updateBranch({ projectId, branchId, ...over }, call);
const list = async (includeDeleted = false) =>
  (await world.control.listBranches({ projectId, includeDeleted }, call)).branches;
const codeOf = async (work: Promise<unknown>) => (await errorOf(work)).code;
const login = (b: BranchCreated) =>
  world.internal.getLogin({ endpointId: b.endpoints[0]!.id, role: 'neondb_owner', database: 'neondb' });
/** A tree `depth` deep in which each branch has `width` children; the root first. */
async function tree(depth: number, width: number): Promise<BranchCreated[]> {
  const root = await fork();
  let level = [root];
  const all = [root];
  for (let d = 1; d < depth; d++) {
    level = (
      await Promise.all(level.flatMap((p) => Array.from({ length: width }, () => fork(p.branch.id))))
    ).flat();
    all.push(...level);
  }
  return all;
}

describe('a subtree', () => {
  it('goes as a whole, with its computes, and comes back as a whole, as it was', async () => {
    const all = await tree(3, 2);
    const [root] = all;
    const leaf = all.at(-1)!;
    const logins = await Promise.all([login(root!), login(leaf)]);
    const { computeId } = await world.internal.wake({ endpointId: leaf.endpoints[0]!.id });
    const before = await Promise.all(all.map((b) => get(b.branch.id)));
    expect(await codeOf(remove(root!.branch.id))).toBe('branch-has-children');
    const { branch } = await remove(root!.branch.id, { children: 'delete' });
    expect(branch.recoverableUntilUnixMs - branch.deletedUnixMs).toBe(RECOVERY_WINDOW_MS);
    expect(branch.deletionMethod).toBe('user');
    expect(world.agent.stops).toContain(computeId);
    expect((await list()).map((b) => b.id)).toEqual([made.branch.id]);
    expect(await list(true)).toHaveLength(all.length + 1);
    expect(await codeOf(login(leaf))).toBe('endpoint-not-found');
    expect(await codeOf(world.internal.wake({ endpointId: leaf.endpoints[0]!.id }))).toBe(
      'endpoint-not-found',
    );
    expect(await codeOf(fork(leaf.branch.id))).toBe('branch-not-found');

    const back = await recover(leaf.branch.id);
    expect(back.branch.id).toBe(leaf.branch.id);
    expect(back.endpoints.map((e) => e.id)).toEqual(leaf.endpoints.map((e) => e.id));
    expect(back.others).toHaveLength(all.length - 1);
    const after = await Promise.all(all.map((b) => get(b.branch.id)));
    const asItIs = (b: BranchModel) => ({ ...b, updatedUnixMs: 0, consumption: undefined });
    expect(after.map(asItIs)).toEqual(before.map(asItIs));
    expect(await Promise.all([login(root!), login(leaf)])).toEqual(logins);
    expect((await world.internal.wake({ endpointId: leaf.endpoints[0]!.id })).computeId).not.toBe(computeId);
    expect(await codeOf(recover(leaf.branch.id))).toBe('branch-not-deleted');
  });

  it('stays when any branch of it is protected, which is named', async () => {
    const all = await tree(3, 1);
    await update(all[2]!.branch.id, { isProtected: true });
    const refused = await errorOf(remove(all[0]!.branch.id, { children: 'delete' }));
    expect([refused.code, refused.kind]).toEqual(['branch-protected', 'Conflict']);
    expect(refused.message).toContain(all[2]!.branch.id);
    expect(await list()).toHaveLength(4);
  });

  it('includes forks that are made while it is being deleted, or these are refused', async () => {
    const root = await fork();
    const racing = Array.from({ length: 20 }, () =>
      fork(root.branch.id).then(
        () => 'made',
        (e: { code: string }) => e.code,
      ),
    );
    await remove(root.branch.id, { children: 'delete' });
    for (const outcome of await Promise.all(racing))
      expect(['made', 'parent-changed', 'branch-not-found']).toContain(outcome);
    expect((await list()).map((b) => b.id)).toEqual([made.branch.id]);
  });

  it('goes in one call with up to 10,000 branches, and with more in none', async () => {
    const root = await fork();
    const grow = (from: number, to: number) =>
      world.server.query(
        `with t as (
           insert into timelines (id, project_id, ancestor_id, ancestor_lsn, depth, pg_version, created_at)
           select md5($1::text || n), $1, $2, $3, 3, 17, now() from generate_series($5::integer, $6::integer) n returning id
         ) insert into branches (id, project_id, name, parent_id, timeline_id, is_default, is_protected, created_at, updated_at)
         select 'br-many-' || left(id, 8) || '-' || right(id, 8), $1, id, $4, id, false, false, now(), now() from t`,
        [projectId, timelineOf(root), formatLsn(root.branch.parentLsn!), root.branch.id, from, to],
      );
    await grow(1, 10_000);
    expect(await codeOf(remove(root.branch.id, { children: 'delete' }))).toBe('subtree-too-large');
    await world.server.query('delete from branches where name = md5($1::text || 10000)', [projectId]);
    const began = systemClock.monotonic();
    await remove(root.branch.id, { children: 'delete' });
    const deletedIn = systemClock.monotonic() - began;
    expect(await world.control.countBranches({ projectId }, call)).toEqual({ count: 1 });
    expect((await recover(root.branch.id)).others).toHaveLength(9_999);
    const recoveredIn = systemClock.monotonic() - began - deletedIn;
    console.info('10,000 branches, milliseconds', Math.round(deletedIn), Math.round(recoveredIn));
    await remove(root.branch.id, { children: 'delete', hard: true });
  });

  it('is ended by another control-plane when the one that deleted it dies before it stops the computes', async () => {
    const child = await fork();
    const { computeId } = await world.internal.wake({ endpointId: child.endpoints[0]!.id });
    const disarm = armFailpoint('delete-before-ending-computes', 'error');
    await errorOf(remove(child.branch.id));
    disarm();
    const running = async () => (await world.other.listRunning({})).computes.map((c) => c.computeId);
    const until = systemClock.monotonic() + 10_000;
    while ((await running()).includes(computeId) && systemClock.monotonic() < until)
      await systemClock.sleep(100);
    expect(await running()).not.toContain(computeId);
    expect(world.agent.stops).toContain(computeId);
  });
});

describe('children that are kept', () => {
  it('go on without their parent, also forks of them, and are its children again when it comes back', async () => {
    const parent = await fork();
    const child = await fork(parent.branch.id);
    await remove(parent.branch.id, { children: 'keep' });
    expect((await get(child.branch.id)).parentId).toBe(parent.branch.id);
    await fork(child.branch.id);
    await world.internal.wake({ endpointId: child.endpoints[0]!.id });
    await recover(parent.branch.id);
    expect(await codeOf(remove(parent.branch.id))).toBe('branch-has-children');
  });

  it('do not go with their grandparent', async () => {
    const all = await tree(3, 1);
    await remove(all[1]!.branch.id, { children: 'keep' });
    await remove(all[0]!.branch.id, { children: 'delete' });
    expect((await get(all[2]!.branch.id)).id).toBe(all[2]!.branch.id);
  });
});

describe('the default branch', () => {
  it('goes when the request says so, and the oldest that is left takes its place', async () => {
    const [first, second] = [await fork(), await fork()];
    expect(await codeOf(remove(made.branch.id, { children: 'keep' }))).toBe('default-branch');
    await remove(made.branch.id, { children: 'keep', defaultBranch: true });
    expect(await get(first.branch.id)).toMatchObject({ isDefault: true });
    expect((await world.control.getProject({ projectId }, call)).defaultBranchId).toBe(first.branch.id);
    const { branch } = await world.control.setDefaultBranch({ projectId, branchId: second.branch.id }, call);
    expect(branch.isDefault).toBe(true);
    expect((await get(first.branch.id)).isDefault).toBe(false);
    expect((await recover(made.branch.id)).branch.isDefault).toBe(false);
  });

  it('takes the project with it when it is the last, and both come back together', async () => {
    await fork();
    await remove(made.branch.id, { children: 'delete', defaultBranch: true });
    expect(await codeOf(world.control.getProject({ projectId }, call))).toBe('project-not-found');
    expect(await codeOf(recover(made.branch.id))).toBe('project-deleted');
    const back = await world.control.recoverProject({ projectId }, call);
    expect(back.project.defaultBranchId).toBe(made.branch.id);
    expect(back.branches).toHaveLength(2);
    expect(await list()).toHaveLength(2);
  });
});

describe('recovery', () => {
  it('gives a branch another name when its own is taken', async () => {
    const one = await fork('', { name: 'try' });
    await remove(one.branch.id);
    const two = await fork('', { name: 'try' });
    expect((await recover(one.branch.id)).branch.name).toBe('try (recovered)');
    await update(one.branch.id, { name: 'kept' });
    await remove(two.branch.id);
    await fork('', { name: 'try' });
    await fork('', { name: 'try (recovered)' });
    expect((await recover(two.branch.id)).branch.name).toBe('try (recovered 2)');
  });

  it('is refused after the window, after a hard delete, and of what never was', async () => {
    const [one, two] = [await fork(), await fork()];
    await remove(one.branch.id);
    await remove(two.branch.id, { hard: true });
    expect(await codeOf(recover(two.branch.id))).toBe('not-recoverable');
    world.skewMs = RECOVERY_WINDOW_MS + 1000;
    expect(await codeOf(recover(one.branch.id))).toBe('not-recoverable');
    expect(await codeOf(recover('br-no-such-1'))).toBe('branch-not-found');
    expect(await list(true)).toHaveLength(1);
  });
});

describe('a time to live', () => {
  const inSeconds = (s: number) => world.now() + s * 1000;
  it('is given when a branch is made or later, renewed, and taken away', async () => {
    const lease = await fork('', { ttl: { kind: 'lease', seconds: 10, subtree: true } });
    expect(lease.branch.ttl).toMatchObject({ kind: 'lease', seconds: 10, subtree: true });
    world.skewMs = 5000;
    const { branch } = await world.control.renewBranch({ projectId, branchId: lease.branch.id }, call);
    expect(branch.ttl!.expiresUnixMs).toBeGreaterThanOrEqual(lease.branch.ttl!.expiresUnixMs + 5000);
    expect((await update(lease.branch.id, { noTtl: true })).branch.ttl).toBeUndefined();
    expect(await codeOf(world.control.renewBranch({ projectId, branchId: lease.branch.id }, call))).toBe(
      'branch-has-no-ttl',
    );
    const expires = inSeconds(100);
    const absolute = await update(lease.branch.id, { ttl: { kind: 'absolute', expiresUnixMs: expires } });
    expect(absolute.branch.ttl).toMatchObject({ kind: 'absolute', seconds: 100, expiresUnixMs: expires });
  });

  it('is refused where it may not be, saying what may', async () => {
    const ttl = { kind: 'lease', seconds: 60 };
    const bad = async (over: object) => codeOf(fork('', { ttl: { ...ttl, ...over } }));
    expect(await bad({ seconds: 9 })).toBe('bad-ttl');
    expect(await bad({ kind: 'idle', seconds: 59 })).toBe('bad-ttl');
    expect(await bad({ seconds: 2_592_001 })).toBe('bad-ttl');
    expect(await bad({ kind: 'never' })).toBe('bad-ttl');
    expect(await bad({ kind: 'absolute', seconds: 0, expiresUnixMs: inSeconds(-1) })).toBe('expiry-in-past');
    expect(await bad({ kind: 'absolute', seconds: 0, expiresUnixMs: inSeconds(2_593_000) })).toBe(
      'expiry-too-late',
    );
    expect(await codeOf(update(made.branch.id, { ttl }))).toBe('default-branch-ttl');
    await update(made.branch.id, { ttl: { ...ttl, defaultBranch: true } });
    expect(await codeOf(update(made.branch.id, { isProtected: true }))).toBe('branch-has-ttl');
    await update(made.branch.id, { isProtected: true, noTtl: true });
    expect(await codeOf(update(made.branch.id, { ttl: { ...ttl, defaultBranch: true } }))).toBe(
      'branch-protected',
    );
    expect(await codeOf(fork('', { isProtected: true, ttl }))).toBe('branch-protected');
    const other = await fork('', { ttl });
    expect(await codeOf(world.control.setDefaultBranch({ projectId, branchId: other.branch.id }, call))).toBe(
      'default-branch-ttl',
    );
  });
});

describe('branches', () => {
  it('are renamed, annotated and counted', async () => {
    const one = await fork('', { name: 'one', annotations: { pr: '17' } });
    expect(one.branch.annotations).toEqual({ pr: '17' });
    const { branch } = await update(one.branch.id, {
      name: 'uno',
      annotations: { a: 'b' },
      setAnnotations: true,
    });
    expect(branch).toMatchObject({ name: 'uno', annotations: { a: 'b' } });
    expect((await update(one.branch.id, { name: 'due' })).branch.annotations).toEqual({ a: 'b' });
    expect(await codeOf(update(one.branch.id, { name: 'main' }))).toBe('branch-name-taken');
    const pairs = Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`k${i}`, 'v']));
    expect(await codeOf(fork('', { annotations: pairs }))).toBe('bad-annotation');
    expect(await world.control.countBranches({ projectId }, call)).toEqual({ count: 2 });
    expect(await world.control.countBranches({ projectId, search: 'du' }, call)).toEqual({ count: 1 });
  });
});

describe('projects', () => {
  it('are changed, and keep what is not named', async () => {
    const settings = {
      quotaActiveSeconds: 0,
      quotaComputeSeconds: 7,
      quotaWrittenBytes: 0,
      quotaTransferredBytes: 0,
      quotaLogicalSizeBytes: 9,
    };
    const { project } = await world.control.updateProject(
      { projectId, name: 'shop', settings, maxComputeUnits: 2 },
      call,
    );
    expect(project).toMatchObject({ name: 'shop', settings, maxComputeUnits: 2, minComputeUnits: 0 });
    const again = await world.control.updateProject({ projectId, suspendTimeoutSeconds: 60 }, call);
    expect(again.project).toMatchObject({ name: 'shop', settings, suspendTimeoutSeconds: 60 });
    expect(await codeOf(world.control.updateProject({ projectId, minComputeUnits: 8 }, call))).toBe(
      'bad-compute-size',
    );
    expect(await codeOf(world.control.updateProject({ projectId, name: '' }, call))).toBe('bad-name');
  });

  it('are not deleted while a branch is protected, and come back with what went with them only', async () => {
    const [kept, gone] = [await fork(), await fork()];
    await update(kept.branch.id, { isProtected: true });
    expect(await codeOf(world.control.deleteProject({ projectId }, call))).toBe('branch-protected');
    await update(kept.branch.id, { isProtected: false });
    await remove(gone.branch.id);
    const { project } = await world.control.deleteProject({ projectId }, call);
    expect(project.recoverableUntilUnixMs).toBe(project.deletedUnixMs + RECOVERY_WINDOW_MS);
    const deleted = (await world.control.listProjects({ deleted: true, limit: 400 }, call)).projects;
    expect(deleted.map((p) => p.id)).toContain(projectId);
    const back = await world.control.recoverProject({ projectId }, call);
    expect(back.branches.map((b) => b.id).sort()).toEqual([made.branch.id, kept.branch.id].sort());
    expect((await list(true)).map((b) => b.id)).toContain(gone.branch.id);
    expect(await codeOf(world.control.recoverProject({ projectId }, call))).toBe('project-not-deleted');
    await recover(gone.branch.id);
    await world.control.deleteProject({ projectId, hard: true }, call);
    expect(await codeOf(world.control.recoverProject({ projectId }, call))).toBe('project-not-found');
  });
});
