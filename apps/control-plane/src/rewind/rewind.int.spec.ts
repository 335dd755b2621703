import type { BranchCreated, ProjectCreated } from '@coppice/contracts';
import { armFailpoint, systemClock } from '@coppice/service-kit';
import { formatLsn, type Lsn, lsn, type TimelineId } from '@coppice/vocabulary';
import { TEMPLATE_LSN } from '../test-peers';
import { call, ControlPlaneWorld, errorOf, timelineOf } from '../testing/control-plane-world';

let world: ControlPlaneWorld;
let project: ProjectCreated;
const keyed = (key: string) => ({ headers: { ...call.headers, 'idempotency-key': key } });

beforeAll(async () => {
  world = await ControlPlaneWorld.start();
  project = await world.project({ name: 'rewound' });
});
afterAll(() => world?.stop());

const at = (of: BranchCreated) => ({ projectId: of.branch.projectId, branchId: of.branch.id });
const get = (of: BranchCreated) => world.control.getBranch(at(of), call);
const restore = (of: BranchCreated, over: object = {}, options = call) =>
  world.control.restoreBranch({ ...at(of), ...over }, options);
const checkpoint = (of: BranchCreated, over: object = {}, options = call) =>
  world.control.createCheckpoint({ ...at(of), ...over }, options);
const checkpoints = async (of: BranchCreated) =>
  (await world.control.listCheckpoints(at(of), call)).checkpoints;
const wake = async (of: BranchCreated, through = world.internal) => {
  await world.heartbeat(world.agent);
  const { computeId } = await through.wake({ endpointId: of.endpoints[0]!.id });
  return world.agent.starts.find((s) => s.computeId === computeId)!;
};
const timeline = (id: TimelineId) => world.internal.getTimeline({ timelineId: id });
const commit = (of: { branch: { timelineId?: TimelineId | undefined } }): Lsn =>
  world.quorum.commit(timelineOf(of));

/** Where the safekeepers of these tests place the end of the record at a position. */
const recordEnd = (position: Lsn): Lsn => lsn(position - (position % 0x100n));

/** A branch with a running compute and two commits: the end of the record before the first, and the head. */
async function written(
  over: object = {},
): Promise<{ made: BranchCreated; first: Lsn; second: Lsn; computeId: string }> {
  const made = await world.fork(project.project.id, over);
  const { computeId } = await wake(made);
  return { made, first: recordEnd(commit(made)), second: commit(made), computeId };
}

describe('a restore in place', () => {
  it('goes back to a position of its own history and keeps branch, endpoint and password', async () => {
    const { made, first, computeId } = await written();
    const before = await world.internal.getLogin({
      endpointId: made.endpoints[0]!.id,
      role: 'neondb_owner',
      database: 'neondb',
    });
    const began = performance.now();
    const { branch, operations } = await restore(made, { sourceLsn: first });
    const ms = performance.now() - began;
    expect(branch).toMatchObject({
      id: made.branch.id,
      name: made.branch.name,
      restoredFrom: made.branch.id,
    });
    expect(branch.lastResetUnixMs).toBeGreaterThan(0);
    expect(operations).toMatchObject([{ action: 'create_timeline', status: 'finished' }]);
    expect(world.agent.stops).toContain(computeId);
    expect(await timeline(branch.timelineId!)).toMatchObject({
      ancestorId: timelineOf(made),
      ancestorLsn: first,
    });
    const next = await wake(made);
    expect(next).toMatchObject({ timelineId: branch.timelineId, timelineStartLsn: first });
    expect(
      await world.internal.getLogin({
        endpointId: made.endpoints[0]!.id,
        role: 'neondb_owner',
        database: 'neondb',
      }),
    ).toEqual(before);
    expect(ms).toBeLessThan(2_000);
  });

  it('leaves a checkpoint at the former head, so that it can be undone, and that undone, too', async () => {
    const { made, first, second } = await written();
    await restore(made, { sourceLsn: first });
    const [undo] = await checkpoints(made);
    expect(undo).toMatchObject({ automatic: true, lsn: second });
    expect(undo!.name).toMatch(/^before-restore-20/);
    expect(undo!.expiresUnixMs - undo!.createdUnixMs).toBe(86_400_000);
    const undone = await restore(made, { sourceCheckpoint: undo!.name });
    expect(await timeline(undone.branch.timelineId!)).toMatchObject({
      ancestorId: timelineOf(made),
      ancestorLsn: second,
    });
    const [redo] = await checkpoints(made);
    const redone = await restore(made, { sourceCheckpoint: redo!.id });
    expect((await timeline(redone.branch.timelineId!)).ancestorLsn).toBe(first);
  });

  it('leaves all in the checkpoint that was acknowledged until the compute ended, whoever ends it', async () => {
    const { made, first, computeId } = await written();
    const disarm = armFailpoint('restore-before-ending-computes', 'error');
    await errorOf(restore(made, { sourceLsn: first }));
    disarm();
    const late = commit(made);
    for (let i = 0; i < 100 && !world.agent.stops.includes(computeId); i++) await systemClock.sleep(100);
    const kept = async (): Promise<Lsn> => (await checkpoints(made))[0]!.lsn!;
    for (let i = 0; i < 20 && (await kept()) < late; i++) await systemClock.sleep(100);
    expect(await kept()).toBeGreaterThanOrEqual(late);
  });

  it('keeps the state before as a branch, with all that was acknowledged until its end, and gives it the children', async () => {
    const { made, first } = await written();
    const child = await world.fork(project.project.id, { parentId: made.branch.id });
    const late = commit(made);
    const name = `${made.branch.name}-kept`;
    const { branch, operations } = await restore(made, { sourceLsn: first, preserveUnderName: name });
    expect(operations.map((o) => o.action)).toEqual(['create_timeline', 'create_branch']);
    const kept = await world.control.getBranch(
      { projectId: project.project.id, branchId: branch.restoredAs },
      call,
    );
    expect(kept).toMatchObject({ name, timelineId: timelineOf(made), parentId: made.branch.parentId });
    expect((await get(child)).parentId).toBe(kept.id);
    expect(await checkpoints(made)).toEqual([]);
    const fork = await world.fork(project.project.id, { parentId: kept.id });
    expect(fork.branch.parentLsn).toBe(late);
    expect(fork.connectionUris[0]!.database).toBe('neondb');
    expect((await wake(child)).timelineId).toBe(timelineOf(child));
    expect((await errorOf(restore(made, { sourceLsn: first, preserveUnderName: name }))).code).toBe(
      'branch-name-taken',
    );
  });

  it('takes the head of its parent, which stays its parent, and starts an absolute time to live anew', async () => {
    const { made: parent } = await written();
    const ttl = { kind: 'absolute', expiresUnixMs: world.now() + 3_600_000 };
    const made = await world.fork(project.project.id, { parentId: parent.branch.id, ttl });
    await wake(made);
    commit(made);
    const head = commit(parent);
    world.skewMs += 60_000;
    const { branch } = await restore(made, { sourceBranchId: '^parent' });
    world.skewMs -= 60_000;
    expect(branch).toMatchObject({ parentId: parent.branch.id, parentLsn: head });
    expect(await timeline(branch.timelineId!)).toMatchObject({
      ancestorId: timelineOf(parent),
      ancestorLsn: head,
    });
    if (branch.ttl) expect(branch.ttl.expiresUnixMs).toBeGreaterThan(ttl.expiresUnixMs + 50_000);
    expect((await errorOf(restore(project, { sourceBranchId: '^parent' }))).code).toBe('no-parent');
  });

  it('from another branch makes that its parent, unless it would descend from itself', async () => {
    const { made } = await written();
    const { made: other, second } = await written();
    expect((await restore(made, { sourceBranchId: other.branch.id })).branch).toMatchObject({
      parentId: other.branch.id,
      parentLsn: second,
    });
    const below = await world.fork(project.project.id, { parentId: made.branch.id });
    expect((await restore(other, { sourceBranchId: below.branch.id })).branch.parentId).toBe(
      other.branch.parentId,
    );
    const kept = await restore(other, {
      sourceBranchId: below.branch.id,
      preserveUnderName: `${other.branch.name}-kept`,
    });
    expect(kept.branch.parentId).toBe(below.branch.id);
    expect((await get(made)).parentId).toBe(kept.branch.restoredAs);
  });

  it('reaches positions before it was a branch of its own', async () => {
    const { made: parent, first } = await written();
    const child = await world.fork(project.project.id, { parentId: parent.branch.id });
    const { branch } = await restore(child, { sourceLsn: first });
    expect(await timeline(branch.timelineId!)).toMatchObject({
      ancestorId: timelineOf(parent),
      ancestorLsn: first,
    });
    expect(branch).toMatchObject({ parentId: parent.branch.id, parentLsn: first });
  });

  it('reaches positions from before an earlier restore, and says where those after it have gone', async () => {
    const { made, first, second } = await written();
    const once = await restore(made, { sourceLsn: first });
    const gone = await errorOf(restore(made, { sourceLsn: second }));
    expect(gone.code).toBe('lsn-in-future');
    expect(gone.remedy).toContain('before-restore checkpoint');
    await wake(made);
    world.quorum.commit(once.branch.timelineId!);
    const twice = await restore(made, { sourceLsn: first });
    expect((await timeline(twice.branch.timelineId!)).ancestorLsn).toBe(first);
    for (let depth = 0; depth < 5; depth++) {
      const { timelineId } = await get(made);
      await wake(made);
      const next = recordEnd(world.quorum.commit(timelineId!));
      await restore(made, { sourceLsn: next });
    }
    expect((await restore(made, { sourceLsn: TEMPLATE_LSN })).branch.restoredFrom).toBe(made.branch.id);
  });

  it('goes by time along the history that the branch has now', async () => {
    const made = await world.fork(project.project.id);
    await wake(made);
    const micros = BigInt(world.now()) * 1000n;
    const early = world.quorum.commit(timelineOf(made), micros - 2_000n);
    world.quorum.commit(timelineOf(made), micros);
    const { branch } = await restore(made, { sourceTimestampUnixMicros: Number(micros - 1_000n) });
    expect((await timeline(branch.timelineId!)).ancestorLsn).toBe(early);
  });

  it('runs the set-up again where the position is before it', async () => {
    const named = await world.project({ databaseName: 'shop', roleName: 'keeper' });
    await wake(named);
    world.quorum.commit(timelineOf(named));
    await restore(named, { sourceLsn: TEMPLATE_LSN });
    const sql = (await wake(named)).setupSql;
    expect(sql.filter((s) => s.includes('rename'))).toHaveLength(2);
    // Left before its set-up had taken effect, and gone back to: still before it.
    const fresh = await world.project({ databaseName: 'shop', roleName: 'keeper' });
    await restore(fresh, { sourceLsn: TEMPLATE_LSN });
    await restore(fresh, { sourceLsn: TEMPLATE_LSN });
    expect((await wake(fresh)).setupSql.filter((s) => s.includes('rename'))).toHaveLength(2);
  });

  it('creates at the next start, once, the roles that credentials are for and the state may lack', async () => {
    const { made, first } = await written();
    await world.server.query(
      `insert into roles values ('${made.branch.id}', 'late', false, now(), now());
       insert into credentials (id, branch_id, role_name, version, created_at) values (gen_random_uuid(), '${made.branch.id}', 'late', 1, now())`,
    );
    await restore(made, { sourceLsn: first });
    const { setupSql, computeId } = await wake(made);
    expect(setupSql.some((s) => s.includes("'late'"))).toBe(true);
    await world.control.suspendEndpoint(
      { projectId: made.branch.projectId, endpointId: made.endpoints[0]!.id },
      call,
    );
    const again = await wake(made);
    expect(again.computeId).not.toBe(computeId);
    expect(again.setupSql).toEqual([]);
  });

  it('takes the databases of the branch it comes from, and adds its roles with credentials of their own', async () => {
    const { made } = await written();
    const { made: other } = await written();
    await world.server.query(
      `insert into roles values ('${other.branch.id}', 'theirs', false, now(), now()), ('${other.branch.id}', 'group', false, now(), now());
       insert into credentials (id, branch_id, role_name, version, created_at) values (gen_random_uuid(), '${other.branch.id}', 'theirs', 1, now());
       insert into roles values ('${made.branch.id}', 'ours', false, now(), now());
       insert into databases (branch_id, name, owner_name, created_at, updated_at) values ('${other.branch.id}', 'shop', 'theirs', now(), now());
       insert into databases (branch_id, name, owner_name, created_at, updated_at) values ('${made.branch.id}', 'old', 'ours', now(), now())`,
    );
    await restore(made, { sourceBranchId: other.branch.id });
    const uri = (databaseName: string, roleName: string) =>
      world.control.getConnectionUri({ ...at(made), databaseName, roleName }, call);
    expect((await uri('shop', 'theirs')).password).toMatch(/^npg_/);
    expect((await uri('neondb', 'neondb_owner')).password).toBe(made.connectionUris[0]!.password);
    // Nobody connects as `group` there, nor here.
    expect((await errorOf(uri('shop', 'group'))).code).toBe('role-not-found');
    expect((await errorOf(uri('old', 'neondb_owner'))).code).toBe('database-not-found');
    const roles = await world.server.query<{ name: string }>(
      'select name from roles where branch_id = $1 order by name',
      [made.branch.id],
    );
    expect(roles.map((r) => r.name)).toEqual(['group', 'neondb_owner', 'ours', 'theirs']);
  });

  it('of the default branch is like that of any other; of a protected one it is refused', async () => {
    const own = await world.project();
    await wake(own);
    const first = commit(own);
    commit(own);
    expect((await restore(own, { sourceLsn: first })).branch).toMatchObject({ isDefault: true });
    await world.server.query('update branches set is_protected = true where id = $1', [own.branch.id]);
    expect((await errorOf(restore(own, { sourceLsn: first }))).code).toBe('branch-protected');
  });

  it('is refused when it would do nothing, and when it says two things', async () => {
    const { made, first } = await written();
    expect((await errorOf(restore(made))).code).toBe('nothing-to-restore');
    expect((await errorOf(restore(made, { sourceLsn: first, sourceCheckpoint: 'x' }))).code).toBe(
      'two-fork-points',
    );
    expect((await errorOf(restore(made, { sourceCheckpoint: 'none' }))).code).toBe('checkpoint-not-found');
    expect((await errorOf(restore(made, { sourceBranchId: 'br-no-such-1' }))).code).toBe('branch-not-found');
    expect((await errorOf(restore(made, { sourceLsn: lsn(2n ** 40n) }))).code).toBe('lsn-in-future');
    expect((await errorOf(restore(made, { sourceLsn: lsn(TEMPLATE_LSN - 1n) }))).code).toBe(
      'lsn-before-history',
    );
  });

  it('costs the same at any depth', async () => {
    const times: number[] = [];
    let parent: BranchCreated = project;
    for (let depth = 1; depth <= 100; depth++) {
      const child = await world.fork(project.project.id, { parentId: parent.branch.id });
      const began = performance.now();
      const { branch } = await restore(child, { sourceBranchId: '^parent' });
      times.push(performance.now() - began);
      expect((await timeline(branch.timelineId!)).ancestorId).toBe((await get(parent)).timelineId);
      parent = child;
    }
    const median = (part: number[]) => part.sort((a, b) => a - b)[part.length >> 1]!.toFixed(1);
    process.stdout.write(
      `restores of sleeping branches: median ${median(times.slice(0, 20))} ms at depth 1 to 20, ${median(times.slice(-20))} ms at depth 81 to 100\n`,
    );
  });

  it('answers a repeated idempotency key with the first answer', async () => {
    const { made, first } = await written();
    const once = await restore(made, { sourceLsn: first }, keyed('restore-once'));
    expect(await restore(made, { sourceLsn: first }, keyed('restore-once'))).toEqual(once);
    expect((await get(made)).timelineId).toBe(once.branch.timelineId);
  });
});

describe('restores, starts and forks at once', () => {
  it('of one branch happen one after the other, each undoable', async () => {
    const { made, first } = await written();
    const results = await Promise.allSettled(
      [1, 2, 3, 4].map((n) =>
        (n % 2 ? world.control : world.control2).restoreBranch({ ...at(made), sourceLsn: first }, call),
      ),
    );
    const codes = results.map((r) => (r.status === 'fulfilled' ? 'ok' : (r.reason as { code: string }).code));
    expect(codes.filter((c) => c !== 'ok' && c !== 'branch-busy')).toEqual([]);
    const done = codes.filter((c) => c === 'ok').length;
    expect(done).toBeGreaterThan(0);
    expect(await checkpoints(made)).toHaveLength(done);
  });

  it('never leave a compute on the timeline that was left', async () => {
    for (let round = 0; round < 8; round++) {
      const { made, first } = await written();
      await world.control.suspendEndpoint(
        { projectId: made.branch.projectId, endpointId: made.endpoints[0]!.id },
        call,
      );
      const woken = [world.internal, world.other].map((i) => i.wake({ endpointId: made.endpoints[0]!.id }));
      if (round % 2) await systemClock.sleep(round);
      const { branch } = await restore(made, { sourceLsn: first });
      await Promise.all(woken);
      const live = await world.server.query<{ timeline_id: string }>(
        "select timeline_id from computes where endpoint_id = $1 and state in ('starting', 'running', 'stopping')",
        [made.endpoints[0]!.id],
      );
      expect(live.map((c) => c.timeline_id).filter((t) => t !== branch.timelineId)).toEqual([]);
      expect((await wake(made)).timelineId).toBe(branch.timelineId);
    }
  });

  it('take the head of a source that starts or stops', async () => {
    const { made: source } = await written();
    const made = await world.fork(project.project.id);
    const head = commit(source);
    const stop = world.control.suspendEndpoint(
      { projectId: source.branch.projectId, endpointId: source.endpoints[0]!.id },
      call,
    );
    const during = await restore(made, { sourceBranchId: source.branch.id });
    await stop;
    expect((await timeline(during.branch.timelineId!)).ancestorLsn).toBeGreaterThanOrEqual(head);
    world.agent.startDelayMs = 100;
    const start = world.internal.wake({ endpointId: source.endpoints[0]!.id });
    const again = await restore(made, { sourceBranchId: source.branch.id });
    world.agent.startDelayMs = 5;
    await start;
    expect((await timeline(again.branch.timelineId!)).ancestorLsn).toBeGreaterThanOrEqual(head);
  });

  it('that die before they end the compute are finished by another control-plane within 10 s', async () => {
    const { made, first, computeId } = await written();
    const disarm = armFailpoint('restore-before-ending-computes', 'error');
    await errorOf(restore(made, { sourceLsn: first }));
    disarm();
    expect(world.agent.stops).not.toContain(computeId);
    const { timelineId } = await get(made);
    expect(timelineId).not.toBe(timelineOf(made));
    for (let i = 0; i < 100 && !world.agent.stops.includes(computeId); i++) await systemClock.sleep(100);
    expect(world.agent.stops).toContain(computeId);
    const second = await written();
    const disarmed = armFailpoint('restore-before-ending-computes', 'error');
    await errorOf(restore(second.made, { sourceLsn: second.first }, keyed('dies')));
    disarmed();
    expect((await wake(second.made, world.other)).timelineStartLsn).toBe(second.first);
    expect((await restore(second.made, { sourceLsn: second.first }, keyed('dies'))).branch.id).toBe(
      second.made.branch.id,
    );
  });
});

describe('checkpoints', () => {
  it('are at the head of a running branch unless told otherwise, and forked from', async () => {
    const { made, first, second } = await written();
    const head = await checkpoint(made, { name: 'now' });
    expect(head).toMatchObject({ name: 'now', lsn: second, automatic: false, expiresUnixMs: 0 });
    expect(head.id).toMatch(/^ckpt-/);
    const early = await checkpoint(made, { lsn: first });
    expect(early).toMatchObject({ lsn: first, name: early.id });
    commit(made);
    for (const named of ['now', head.id]) {
      const fork = await world.fork(project.project.id, {
        parentId: made.branch.id,
        parentCheckpoint: named,
      });
      expect(fork.branch).toMatchObject({ parentLsn: second, parentId: made.branch.id });
    }
    expect((await errorOf(checkpoint(made, { name: 'now' }))).code).toBe('checkpoint-name-taken');
    expect((await errorOf(checkpoint(made, { name: 'ckpt-x' }))).code).toBe('bad-name');
    expect((await errorOf(checkpoint(made, { expiresUnixMs: 5 }))).code).toBe('bad-expiry');
    expect(
      (await errorOf(world.fork(project.project.id, { parentId: made.branch.id, parentCheckpoint: 'none' })))
        .code,
    ).toBe('checkpoint-not-found');
  });

  it('go on naming their state when the branch has left that history', async () => {
    const { made, first, second } = await written();
    await checkpoint(made, { name: 'kept' });
    await restore(made, { sourceLsn: first });
    await wake(made);
    const fork = await world.fork(project.project.id, { parentId: made.branch.id, parentCheckpoint: 'kept' });
    expect(await timeline(timelineOf(fork))).toMatchObject({
      ancestorId: timelineOf(made),
      ancestorLsn: second,
    });
  });

  it('are listed newest first, page by page, until they expire', async () => {
    const { made } = await written();
    for (let i = 0; i < 5; i++) await checkpoint(made, { name: `c${i}` });
    await checkpoint(made, { name: 'brief', expiresUnixMs: world.now() + 60_000 });
    const page = await world.control.listCheckpoints({ ...at(made), limit: 4 }, call);
    expect(page.checkpoints.map((c) => c.name)).toEqual(['brief', 'c4', 'c3', 'c2']);
    const rest = await world.control.listCheckpoints({ ...at(made), cursor: page.nextCursor }, call);
    expect(rest).toMatchObject({ nextCursor: '', checkpoints: [{ name: 'c1' }, { name: 'c0' }] });
    world.skewMs += 61_000;
    expect((await checkpoints(made)).map((c) => c.name)).not.toContain('brief');
    expect((await errorOf(restore(made, { sourceCheckpoint: 'brief' }))).code).toBe('checkpoint-not-found');
    world.skewMs -= 61_000;
  });

  it('let their timeline go when they are deleted', async () => {
    const { made, first } = await written();
    await restore(made, { sourceLsn: first });
    const [undo] = await checkpoints(made);
    const due = async () =>
      (
        await world.server.query<{ due: boolean }>(
          'select purge_due_at is not null as due from timelines where id = $1',
          [timelineOf(made)],
        )
      )[0]!.due;
    expect(await due()).toBe(false);
    await world.control.deleteCheckpoint({ ...at(made), checkpoint: undo!.name }, call);
    expect(await due()).toBe(true);
    expect(
      (await errorOf(world.control.deleteCheckpoint({ ...at(made), checkpoint: undo!.name }, call))).code,
    ).toBe('checkpoint-not-found');
  });

  it('are at most 10,000 per branch', async () => {
    const { made } = await written();
    await world.server.query(
      `insert into checkpoints (id, kind, project_id, branch_id, name, timeline_id, lsn, before_setup, created_at)
       select 'ckpt-many-' || n || '-${made.branch.id}', 'checkpoint', '${made.branch.projectId}', '${made.branch.id}', 'n' || n, '${timelineOf(made)}',
         '${formatLsn(TEMPLATE_LSN)}', false, now() from generate_series(1, 9999) n`,
    );
    await checkpoint(made);
    expect((await errorOf(checkpoint(made))).code).toBe('too-many-checkpoints');
  });

  it('record the roles and databases of their time, which a restore to them brings back', async () => {
    const { made } = await written();
    await checkpoint(made, { name: 'then' });
    await world.server.query(
      `update databases set name = 'renamed' where branch_id = '${made.branch.id}';
       delete from credentials where branch_id = '${made.branch.id}'; delete from roles where branch_id = '${made.branch.id}'`,
    );
    await restore(made, { sourceCheckpoint: 'then' });
    const uri = await world.control.getConnectionUri(
      { ...at(made), databaseName: 'neondb', roleName: 'neondb_owner' },
      call,
    );
    expect(uri.database).toBe('neondb');
  });

  it('are made once per idempotency key', async () => {
    const { made } = await written();
    const once = await checkpoint(made, { name: 'once' }, keyed('ckpt'));
    expect(await checkpoint(made, { name: 'once' }, keyed('ckpt'))).toEqual(once);
  });
});

describe('snapshots', () => {
  const snapshot = async (of: BranchCreated, over: object = {}) =>
    (await world.control.createSnapshot({ ...at(of), ...over }, call)).snapshot!;
  const list = async () =>
    (await world.control.listSnapshots({ projectId: project.project.id }, call)).snapshots;

  it('are made, listed, renamed and deleted', async () => {
    const { made, second } = await written();
    const made1 = await snapshot(made, { name: 'nightly' });
    expect(made1).toMatchObject({ name: 'nightly', lsn: second, sourceBranchId: made.branch.id });
    expect(made1.id).toMatch(/^snap-/);
    const ref = { projectId: project.project.id, snapshotId: made1.id };
    expect((await world.control.updateSnapshot({ ...ref, name: 'kept' }, call)).snapshot!.name).toBe('kept');
    expect((await list()).map((s) => s.name)).toContain('kept');
    expect(await checkpoints(made)).toEqual([]);
    expect((await world.control.deleteSnapshot(ref, call)).operations).toMatchObject([
      { status: 'finished' },
    ]);
    expect((await errorOf(world.control.deleteSnapshot(ref, call))).code).toBe('snapshot-not-found');
  });

  it('become branches, also when their branch is gone for good', async () => {
    const { made, second } = await written();
    const taken = await snapshot(made);
    commit(made);
    const request = { projectId: project.project.id, snapshotId: taken.id };
    const one = await world.control.restoreSnapshot(request, call);
    expect(one.branch).toMatchObject({ parentId: made.branch.id, parentLsn: second, restoredFrom: taken.id });
    expect(one.connectionUris).toHaveLength(1);
    await world.server.query(`update checkpoints set branch_id = null where id = '${taken.id}'`);
    const two = await world.control.restoreSnapshot({ ...request, name: 'from-nowhere' }, call);
    expect(two.branch).toMatchObject({ parentId: '', name: 'from-nowhere' });
    expect(two.databases).toMatchObject([{ name: 'neondb', ownerName: 'neondb_owner' }]);
    expect((await timeline(timelineOf(two))).ancestorLsn).toBe(second);
    expect((await errorOf(world.control.restoreSnapshot({ ...request, finalize: true }, call))).code).toBe(
      'no-target',
    );
  });

  it('restored over a target leave it its id and endpoints and keep its state as "(old)"', async () => {
    const { made, second } = await written();
    const taken = await snapshot(made);
    const late = commit(made);
    const over = () =>
      world.control.restoreSnapshot(
        {
          projectId: project.project.id,
          snapshotId: taken.id,
          targetBranchId: made.branch.id,
          finalize: true,
        },
        call,
      );
    const done = await over();
    expect(done.branch).toMatchObject({ id: made.branch.id, name: made.branch.name });
    expect(done.endpoints.map((e) => e.id)).toEqual(made.endpoints.map((e) => e.id));
    expect((await timeline(done.branch.timelineId!)).ancestorLsn).toBe(second);
    const old = await world.control.getBranch(
      { projectId: project.project.id, branchId: done.branch.restoredAs },
      call,
    );
    expect(old.name).toBe(`${made.branch.name} (old)`);
    expect((await world.fork(project.project.id, { parentId: old.id })).branch.parentLsn).toBe(late);
    const again = await over();
    expect(again.branch.restoredAs).not.toBe(old.id);
  });

  it('looked at first are finalised over their target, with what was written meanwhile', async () => {
    const { made } = await written();
    const taken = await snapshot(made);
    const beside = await world.control.restoreSnapshot(
      { projectId: project.project.id, snapshotId: taken.id, targetBranchId: made.branch.id },
      call,
    );
    expect(beside.branch.restoreStatus).toBe('restored');
    await wake(beside);
    const fixed = commit(beside);
    const ref = { projectId: project.project.id, branchId: beside.branch.id };
    const { operations } = await world.control.finalizeRestore({ ...ref, name: 'before the fix' }, call);
    expect(operations.every((o) => o.status === 'finished')).toBe(true);
    const target = await get(made);
    expect(await timeline(target.timelineId!)).toMatchObject({
      ancestorId: timelineOf(beside),
      ancestorLsn: fixed,
    });
    expect((await get(beside)).restoreStatus).toBe('');
    expect((await errorOf(world.control.finalizeRestore(ref, call))).code).toBe('nothing-to-finalize');
  });
});
