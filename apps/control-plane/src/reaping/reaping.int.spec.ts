import type { BranchCreated, ProjectCreated } from '@coppice/contracts';
import { armFailpoint, systemClock } from '@coppice/service-kit';
import { formatLsn, type TimelineId } from '@coppice/vocabulary';
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
const lives = async (b: BranchCreated) =>
  (await world.control.listBranches({ projectId }, call)).branches.some((x) => x.id === b.branch.id);
const sweep = (kind: string, over: object = {}) =>
  world.internal.sweep({ kind, limit: 1000, dryRun: false, ...over });
const sweptIds = async (kind: string, over: object = {}) =>
  (await sweep(kind, over)).items.filter((i) => i.done).map((i) => i.id);
const item = async (kind: string, id: string) => (await sweep(kind)).items.find((i) => i.id === id);
/** All purges until none is due. */
async function purge(): Promise<void> {
  for (let round = 0; round < 20; round++) {
    let due = 0;
    for (const kind of ['deleted-branch', 'deleted-project', 'deleted-timeline'])
      due += (await sweep(kind)).due;
    if (due === 0) return;
  }
  throw new Error('purges do not come to an end');
}
const rowsOf = async (table: string, id: string) =>
  (await world.server.query(`select 1 from ${table} where id = $1`, [id])).length;
const storageLost = (b: { branch: { timelineId?: TimelineId | undefined } }) =>
  new Set(world.quorum.deleted.filter((d) => d.timelineId === timelineOf(b)).map((d) => d.by));

describe('expired branches', () => {
  it('end at their time, alone or with their subtree, and can be recovered', async () => {
    const alone = await fork('', { ttl: { kind: 'absolute', expiresUnixMs: world.now() + 30_000 } });
    const staying = await fork(alone.branch.id);
    const root = await fork('', { ttl: { kind: 'lease', seconds: 20, subtree: true } });
    const below = await fork((await fork(root.branch.id)).branch.id);
    const { computeId } = await world.internal.wake({ endpointId: below.endpoints[0]!.id });
    expect(await sweptIds('expired-branch')).toEqual([]);
    world.skewMs = 25_000;
    await world.heartbeat(world.agent, 0);
    expect((await sweep('expired-branch', { dryRun: true })).items.map((i) => i.id)).toEqual([
      root.branch.id,
    ]);
    expect(await sweptIds('expired-branch')).toEqual([root.branch.id]);
    expect([await lives(root), await lives(below), await lives(alone)]).toEqual([false, false, true]);
    expect(world.agent.stops).toContain(computeId);
    world.skewMs = 31_000;
    expect(await sweptIds('expired-branch')).toEqual([alone.branch.id]);
    expect([await lives(alone), await lives(staying)]).toEqual([false, true]);
    const { branch, others } = await world.control.recoverBranch(
      { projectId, branchId: below.branch.id },
      call,
    );
    expect([branch.id, others.length]).toEqual([below.branch.id, 2]);
    expect(await sweptIds('expired-branch')).toEqual([]);
    const audit = await world.server.query<{ action: string; agent_id: string }>(
      'select action, agent_id from audit_log where branch_id = $1 order by id',
      [root.branch.id],
    );
    expect(audit).toEqual([
      { action: 'create-branch', agent_id: 'operator' },
      { action: 'expire-branch', agent_id: 'reaper' },
      { action: 'recover-branch', agent_id: 'operator' },
    ]);
  });

  it('that are idle ones live on as long as they are used, or what would go with them is', async () => {
    const idle = await fork('', { ttl: { kind: 'idle', seconds: 60, subtree: true } });
    const below = await fork(idle.branch.id);
    world.skewMs = 30_000;
    await world.heartbeat(world.agent);
    await world.internal.wake({ endpointId: below.endpoints[0]!.id });
    world.skewMs = 61_000;
    await world.heartbeat(world.agent, world.now() - 1000);
    expect(await item('expired-branch', idle.branch.id)).toMatchObject({ done: false, failure: '' });
    const { branches } = await world.control.listBranches({ projectId }, call);
    const { ttl } = branches.find((b) => b.id === idle.branch.id)!;
    expect(ttl!.expiresUnixMs).toBeGreaterThan(world.now() + 50_000);
    world.skewMs = 122_000;
    await world.heartbeat(world.agent, 0);
    expect(await sweptIds('expired-branch')).toEqual([idle.branch.id]);
  });

  it('wait while one that would go with them is protected', async () => {
    const root = await fork('', { ttl: { kind: 'lease', seconds: 10, subtree: true } });
    const shielded = await fork(root.branch.id, { isProtected: true });
    world.skewMs = 11_000;
    expect((await item('expired-branch', root.branch.id))?.failure).toContain(shielded.branch.id);
    expect(await item('expired-branch', root.branch.id)).toBeUndefined();
    expect(await lives(root)).toBe(true);
    const branchId = shielded.branch.id;
    await world.control.updateBranch({ projectId, branchId, isProtected: false }, call);
    world.skewMs = 700_000;
    expect(await sweptIds('expired-branch')).toContain(root.branch.id);
  });

  it('hand the role of default branch on, and take the project with them when none is left', async () => {
    const ttl = { kind: 'lease', seconds: 10, defaultBranch: true };
    const heir = await fork();
    await world.control.updateBranch({ projectId, branchId: made.branch.id, ttl }, call);
    world.skewMs = 11_000;
    await sweep('expired-branch');
    expect((await world.control.getProject({ projectId }, call)).defaultBranchId).toBe(heir.branch.id);
    await world.control.updateBranch({ projectId, branchId: heir.branch.id, ttl }, call);
    world.skewMs = 30_000;
    await sweep('expired-branch');
    expect((await errorOf(world.control.getProject({ projectId }, call))).code).toBe('project-not-found');
    await world.control.recoverProject({ projectId }, call);
  });

  it('end once, however many sweep', async () => {
    const all = await Promise.all(
      Array.from({ length: 30 }, () => fork('', { ttl: { kind: 'lease', seconds: 10 } })),
    );
    world.skewMs = 11_000;
    const request = { kind: 'expired-branch', limit: 1000, dryRun: false };
    const sweeps = await Promise.all([
      world.internal.sweep(request),
      world.other.sweep(request),
      world.internal.sweep(request),
    ]);
    const done = sweeps.flatMap((s) => s.items.filter((i) => i.done).map((i) => i.id));
    expect(done.sort()).toEqual(all.map((b) => b.branch.id).sort());
    expect(sweeps.flatMap((s) => s.items.map((i) => i.failure)).filter(Boolean)).toEqual([]);
  });
});

describe('deleted branches past their window', () => {
  it('go for good with their storage, and nothing that a survivor needs', async () => {
    const parent = await fork();
    const kept = await fork(parent.branch.id);
    const gone = await fork(parent.branch.id);
    await world.internal.wake({ endpointId: gone.endpoints[0]!.id });
    await remove(gone.branch.id);
    await remove(parent.branch.id, { children: 'keep', hard: true });
    await purge();
    expect(await rowsOf('branches', parent.branch.id)).toBe(0);
    expect(await rowsOf('timelines', timelineOf(parent))).toBe(1);
    expect([...storageLost(parent), ...storageLost(kept), ...storageLost(gone)]).toEqual([]);
    const branch = await world.control.getBranch({ projectId, branchId: kept.branch.id }, call);
    expect(branch.parentId).toBe('');
    await fork(kept.branch.id);

    world.skewMs = RECOVERY_WINDOW_MS + 1000;
    await purge();
    expect(await rowsOf('branches', gone.branch.id)).toBe(0);
    expect(await rowsOf('timelines', timelineOf(gone))).toBe(0);
    expect([...storageLost(gone)].sort()).toEqual(['ps', 'sk1', 'sk2', 'sk3']);
    expect([...storageLost(parent), ...storageLost(kept)]).toEqual([]);

    await world.control.deleteProject({ projectId, hard: true }, call);
    await purge();
    expect(await rowsOf('projects', projectId)).toBe(0);
    for (const b of [made, parent, kept])
      expect([...storageLost(b)].sort()).toEqual(['ps', 'sk1', 'sk2', 'sk3']);
    const left = await world.server.query<{ id: string }>('select id from timelines where project_id = $1', [
      projectId,
    ]);
    expect(left).toEqual([]);
  });

  it('stay while a checkpoint needs their storage, and go when it has expired', async () => {
    const b = await fork();
    await world.server.query(
      `insert into checkpoints (id, kind, project_id, branch_id, name, timeline_id, lsn, before_setup, expires_at, created_at)
       values ('snap-x', 'snapshot', $1, $2, 's', $3, $4, false, $5, now())`,
      [projectId, b.branch.id, timelineOf(b), formatLsn(b.branch.parentLsn!), new Date(world.now() + 60_000)],
    );
    await remove(b.branch.id, { hard: true });
    await purge();
    expect([await rowsOf('branches', b.branch.id), await rowsOf('timelines', timelineOf(b))]).toEqual([0, 1]);
    world.skewMs = 61_000;
    expect(await sweptIds('expired-checkpoint')).toEqual(['snap-x']);
    await purge();
    expect(await rowsOf('timelines', timelineOf(b))).toBe(0);
  });

  it.each(['purge-after-bar', 'purge-after-safekeepers', 'purge-after-pageserver'])(
    'are removed by another control-plane when the one that does dies at %s',
    async (step) => {
      const b = await fork();
      await remove(b.branch.id, { hard: true });
      await sweep('deleted-branch');
      const disarm = armFailpoint(step, 'error');
      await sweep('deleted-timeline').catch(() => undefined);
      disarm();
      expect(await rowsOf('timelines', timelineOf(b))).toBe(1);
      // Put off as after any failure, or due at once as after a death: both within ten seconds.
      world.skewMs = 10_000;
      await world.other.sweep({ kind: 'deleted-timeline', limit: 1000, dryRun: false });
      expect(await rowsOf('timelines', timelineOf(b))).toBe(0);
      expect([...storageLost(b)].sort()).toEqual(['ps', 'sk1', 'sk2', 'sk3']);
    },
  );

  it('let nothing start on a timeline that is being removed', async () => {
    const b = await fork();
    await world.server.query('update timelines set purge_due_at = now() where id = $1', [timelineOf(b)]);
    await sweep('deleted-timeline');
    await fork(b.branch.id);
    await world.server.query("update timelines set retained_from = 'FFFFFFFF/FFFFFFFF' where id = $1", [
      timelineOf(b),
    ]);
    expect((await errorOf(fork(b.branch.id))).code).toMatch(/parent-changed|before-history/);
  });
});

describe('computes that a dead process left half-way', () => {
  const state = async (id: string) =>
    (await world.server.query<{ state: string }>('select state from computes where id = $1', [id]))[0]?.state;
  it.each([
    ['stopping', 'stopped'],
    ['starting', 'running'],
  ])('that are %s are %s within ten seconds', async (left, settled) => {
    const b = await fork();
    const { computeId } = await world.internal.wake({ endpointId: b.endpoints[0]!.id });
    await world.server.query('update computes set state = $2 where id = $1', [computeId, left]);
    const until = systemClock.monotonic() + 10_000;
    while ((await state(computeId)) !== settled && systemClock.monotonic() < until)
      await systemClock.sleep(200);
    expect(await state(computeId)).toBe(settled);
  });
});

describe('credentials', () => {
  it('that have expired are revoked, once, and it is on record', async () => {
    const { credential } = await world.fleet.createCredential(
      { projectId, branchId: made.branch.id, ttlSeconds: 60 },
      call,
    );
    expect(await sweptIds('expired-credential')).toEqual([]);
    world.skewMs = 61_000;
    expect(await sweptIds('expired-credential')).toEqual([credential!.id]);
    expect(await sweptIds('expired-credential')).toEqual([]);
  });
});

describe('a preview', () => {
  it('lists what would go and why, and changes nothing', async () => {
    const b = await fork('', { ttl: { kind: 'lease', seconds: 10 } });
    world.skewMs = 11_000;
    for (let i = 0; i < 2; i++) {
      const { candidates } = await world.fleet.previewReap({ limit: 1000 }, call);
      expect(candidates.filter((c) => c.branchId === b.branch.id)).toMatchObject([
        { kind: 'expired-branch', id: b.branch.id, projectId, why: 'its time to live is over' },
      ]);
    }
    expect(await lives(b)).toBe(true);
    expect((await errorOf(world.internal.sweep({ kind: 'x', limit: 1, dryRun: true }))).code).toBe(
      'bad-sweep-kind',
    );
  });
});
