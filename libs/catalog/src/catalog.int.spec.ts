import { randomBytes, randomUUID } from 'node:crypto';
import { startPostgres, type TestPostgres } from '@coppice/testing';
import { silentLog } from '@coppice/service-kit';
import {
  type BranchId,
  type ComputeId,
  type EndpointId,
  lsn,
  type NodeId,
  type ProjectId,
  type TimelineId,
} from '@coppice/vocabulary';
import {
  attachPageserver,
  beginStop,
  buildTemplateOnce,
  type Catalog,
  claimCompute,
  ensureApiKey,
  ensureTemplate,
  findBranch,
  findForkSource,
  findIdempotent,
  findIdleComputes,
  findLineage,
  findPrincipal,
  findProject,
  findWakeTarget,
  forgetIdempotencyKeys,
  insertBranch,
  insertSiblings,
  insertEndpoint,
  insertProject,
  keepAwake,
  listAgents,
  listDatabases,
  listRoles,
  lostIdempotencyRace,
  markBranchesDeleted,
  markEndpointDeleted,
  markGone,
  markProjectDeleted,
  markRunning,
  markStopped,
  type NewBranch,
  openCatalog,
  recordActivity,
  recordAgentHeartbeat,
  violatedIndex,
} from './index';

const timelineId = (): TimelineId => randomBytes(16).toString('hex') as TimelineId;
const branchId = (): BranchId => `br-test-oak-${randomBytes(4).toString('hex')}` as BranchId;
const endpointId = (): EndpointId => `ep-test-oak-${randomBytes(4).toString('hex')}` as EndpointId;
const computeId = (): ComputeId => `compute-${randomBytes(16).toString('hex')}` as ComputeId;
const projectId = 'calm-oak-00000001' as ProjectId;
const T0 = new Date('2026-01-01T00:00:00Z');
const later = (seconds: number): Date => new Date(T0.getTime() + seconds * 1000);

let server: TestPostgres;
let catalog: Catalog;
let template: TimelineId;
let root: NewBranch;

function newBranch(over: Partial<NewBranch> & Pick<NewBranch, 'parentId' | 'timeline'>): NewBranch {
  const id = over.id ?? branchId();
  return {
    id,
    projectId,
    name: id,
    parentLsn: undefined,
    parentTimestamp: undefined,
    isDefault: false,
    isProtected: false,
    setupPending: false,
    ttl: undefined,
    annotations: {},
    endpoints: [
      {
        id: endpointId(),
        type: 'read_write',
        suspendTimeoutSeconds: 300,
        minComputeUnits: 0.25,
        maxComputeUnits: 1,
      },
    ],
    roles: [],
    databases: [],
    operations: [
      { id: randomUUID(), action: 'create_branch', endpointId: undefined, status: 'finished', durationMs: 1 },
    ],
    audit: { agentId: 'a1', taskId: undefined, action: 'create-branch' },
    idempotency: undefined,
    quota: undefined,
    now: T0,
    ...over,
  };
}

const child = (parent: NewBranch, over: Partial<NewBranch> = {}): NewBranch =>
  newBranch({
    parentId: parent.id,
    timeline: { id: timelineId(), ancestorId: parent.timeline.id, ancestorLsn: lsn(0x2000000n) },
    ...over,
  });

beforeAll(async () => {
  server = await startPostgres();
  const { host, port } = server.connectionConfig();
  catalog = openCatalog({
    host: host!,
    port: port!,
    user: 'postgres',
    database: 'postgres',
    log: silentLog(),
  });
  await catalog.migrate();
  await ensureApiKey(catalog.db, {
    agentId: 'a1',
    name: 'one',
    keyHash: Buffer.alloc(32, 1),
    scope: 'fleet',
    now: T0,
  });
  template = (await ensureTemplate(catalog.db, 17, timelineId(), T0)).timelineId;
  await catalog.db.transaction().execute((tx) =>
    buildTemplateOnce(
      tx,
      17,
      async () => ({ lsn: lsn(0x1000000n), systemIdentifier: (1n << 63n) + 5n }),
      () => T0,
    ),
  );
  root = newBranch({
    parentId: undefined,
    timeline: { id: timelineId(), ancestorId: template, ancestorLsn: lsn(0x1000000n) },
    isDefault: true,
    name: 'main',
    roles: ['neondb_owner'],
    databases: [{ name: 'neondb', ownerName: 'neondb_owner' }],
  });
  await insertProject(catalog.db, {
    row: {
      id: projectId,
      agent_id: 'a1',
      name: 'shop',
      pg_version: 17,
      default_branch_id: root.id,
      history_retention_seconds: 86400,
      suspend_timeout_seconds: 0,
      setup_sql: [],
      settings: {},
      min_compute_units: 0,
      max_compute_units: 0,
    },
    now: T0,
  });
  await insertBranch(catalog.db, root);
});

afterAll(async () => {
  await catalog?.close();
  await server?.dispose();
});

describe('catalog', () => {
  it('migrates once', async () => {
    expect(await catalog.migrate()).toEqual([]);
  });

  it('finds the principal of a key by its hash only', async () => {
    expect(await findPrincipal(catalog.db, Buffer.alloc(32, 1))).toMatchObject({
      agentId: 'a1',
      scope: 'fleet',
    });
    expect(await findPrincipal(catalog.db, Buffer.alloc(32, 2))).toBeUndefined();
  });

  it('builds a template once and keeps the first reservation', async () => {
    expect(await ensureTemplate(catalog.db, 17, timelineId(), T0)).toEqual({
      timelineId: template,
      lsn: lsn(0x1000000n),
    });
    const again = await catalog.db.transaction().execute((tx) =>
      buildTemplateOnce(
        tx,
        17,
        () => Promise.reject(new Error('not again')),
        () => T0,
      ),
    );
    expect(again).toBe('ready');
  });

  it('copies roles and databases to a fork and gives each role a credential of its own', async () => {
    const fork = child(root);
    const made = await insertBranch(catalog.db, fork);
    expect(made).toMatchObject({
      roles: ['neondb_owner'],
      databases: [{ name: 'neondb', ownerName: 'neondb_owner' }],
    });
    expect(await listRoles(catalog.db, fork.id)).toMatchObject([{ name: 'neondb_owner', version: 1 }]);
    expect(await listDatabases(catalog.db, fork.id)).toHaveLength(1);
    expect((await findForkSource(catalog.db, projectId, fork.id))?.branch).toMatchObject({
      id: fork.id,
      startLsn: lsn(0x2000000n),
      headLsn: lsn(0x2000000n),
      compute: undefined,
    });
  });

  it('walks from a timeline to the ancestor that holds a position', async () => {
    const fork = child(root);
    await insertBranch(catalog.db, fork);
    const steps = await findLineage(catalog.db, fork.timeline.id, lsn(0x1800000n));
    expect(steps.map((s) => s.id)).toEqual([fork.timeline.id, root.timeline.id]);
    expect((await findLineage(catalog.db, fork.timeline.id, lsn(0x10n))).map((s) => s.id)).toEqual([
      fork.timeline.id,
      root.timeline.id,
      template,
    ]);
  });

  it('refuses a second branch of the same name', async () => {
    const error: unknown = await insertBranch(catalog.db, child(root, { name: 'main' })).catch(
      (e: unknown) => e,
    );
    expect(violatedIndex(error)).toBe('branches_name');
  });

  it('refuses a second use of an idempotency key, and leaves nothing of the second branch', async () => {
    const idempotency = { key: 'k1', fingerprint: Buffer.alloc(32), answer: '{}' };
    await insertBranch(catalog.db, child(root, { idempotency }));
    const second = child(root, { idempotency });
    const error: unknown = await insertBranch(catalog.db, second).catch((e: unknown) => e);
    expect(lostIdempotencyRace(error)).toBe(true);
    expect((await findForkSource(catalog.db, projectId, second.id))?.branch).toBeUndefined();
    expect(await forgetIdempotencyKeys(catalog.db, T0, 10)).toBe(0);
    expect(await forgetIdempotencyKeys(catalog.db, later(1), 10)).toBe(1);
  });

  it('makes nothing when the parent is deleted or the position is no longer retained', async () => {
    const parent = child(root);
    await insertBranch(catalog.db, parent);
    const deletion = { id: randomUUID(), method: 'user' as const, recoverableUntil: later(1), now: T0 };
    await catalog.db.transaction().execute((tx) => markBranchesDeleted(tx, [parent.id], deletion));
    expect(await insertBranch(catalog.db, child(parent))).toBeUndefined();
    const kept = child(root);
    await insertBranch(catalog.db, kept);
    await catalog.db
      .updateTable('timelines')
      .set({ retained_from: '0/3000000' })
      .where('id', '=', kept.timeline.id)
      .execute();
    expect(await insertBranch(catalog.db, child(kept))).toBeUndefined();
  });

  it('makes siblings together, each as if it were alone', async () => {
    const parent = child(root);
    await insertBranch(catalog.db, parent);
    const idempotency = { key: 'k2', fingerprint: Buffer.from([0, 255, 7]), answer: '{"a":1}' };
    const plain = child(parent);
    const own = child(parent, { roles: ['extra'], databases: [{ name: 'own', ownerName: 'extra' }] });
    const keyed = child(parent, { idempotency, now: later(3), annotations: { 'a"b': 'é' } });
    const made = await insertSiblings(catalog.db, [plain, own, keyed]);
    expect(made.map((m) => [m?.roles, m?.databases.map((d) => [d.name, d.ownerName])])).toEqual([
      [['neondb_owner'], [['neondb', 'neondb_owner']]],
      [
        ['extra', 'neondb_owner'],
        [
          ['neondb', 'neondb_owner'],
          ['own', 'extra'],
        ],
      ],
      [['neondb_owner'], [['neondb', 'neondb_owner']]],
    ]);
    const ids = await listDatabases(catalog.db, keyed.id);
    expect(made[2]?.databases.map((d) => d.id)).toEqual(ids.map((d) => d.id));
    expect(await findBranch(catalog.db, projectId, keyed.id)).toMatchObject({
      annotations: { 'a"b': 'é' },
      created_at: later(3).getTime(),
      parent_id: parent.id,
      created_by: 'a1',
    });
    expect(await findIdempotent(catalog.db, 'a1', 'k2')).toEqual({
      fingerprint: idempotency.fingerprint,
      answer: { a: 1 },
    });
    expect(await findIdempotent(catalog.db, 'a1', '')).toBeUndefined();
  });

  it('leaves out just those of the siblings that start where history is no longer retained', async () => {
    const parent = child(root);
    await insertBranch(catalog.db, parent);
    await catalog.db
      .updateTable('timelines')
      .set({ retained_from: '0/3000000' })
      .where('id', '=', parent.timeline.id)
      .execute();
    const at = (position: bigint) =>
      child(parent, {
        timeline: { id: timelineId(), ancestorId: parent.timeline.id, ancestorLsn: lsn(position) },
      });
    const [early, late] = [at(0x2fffff8n), at(0x3000000n)];
    const made = await insertSiblings(catalog.db, [early, late]);
    expect(made.map((m) => m !== undefined)).toEqual([false, true]);
    expect(await findBranch(catalog.db, projectId, early.id)).toBeUndefined();
  });

  it('makes none of the siblings when the name of one is taken', async () => {
    const fine = child(root);
    const error: unknown = await insertSiblings(catalog.db, [fine, child(root, { name: 'main' })]).catch(
      (e: unknown) => e,
    );
    expect(violatedIndex(error)).toBe('branches_name');
    expect(await findBranch(catalog.db, projectId, fine.id)).toBeUndefined();
  });

  it('makes no branch without a parent in a project that is deleted', async () => {
    const gone = 'calm-oak-00000002' as ProjectId;
    const row = (await findProject(catalog.db, projectId))!;
    await insertProject(catalog.db, { row: { ...row, id: gone, default_branch_id: branchId() }, now: T0 });
    const timeline = (): NewBranch['timeline'] => ({ ...root.timeline, id: timelineId() });
    const orphan = () => newBranch({ projectId: gone, parentId: undefined, timeline: timeline() });
    expect(await insertBranch(catalog.db, orphan())).toBeDefined();
    const deletion = { id: randomUUID(), method: 'user' as const, recoverableUntil: later(1), now: T0 };
    await catalog.db.transaction().execute((tx) => markProjectDeleted(tx, gone, deletion));
    expect(await insertBranch(catalog.db, orphan())).toBeUndefined();
  });

  it('gives every pageserver attachment a larger generation', async () => {
    const node = { id: 'ps-1' as NodeId, address: 'unix:/x', now: T0 };
    const first = await attachPageserver(catalog.db, node);
    expect(await attachPageserver(catalog.db, node)).toBeGreaterThan(first);
  });
});

describe('computes', () => {
  const node = { id: 'agent-1' as NodeId, incarnation: 'i1' };
  let endpoint: EndpointId;
  let fork: NewBranch;

  beforeEach(async () => {
    await recordAgentHeartbeat(catalog.db, { ...node, address: 'unix:/a', now: T0 });
    fork = child(root);
    await insertBranch(catalog.db, fork);
    endpoint = fork.endpoints[0]!.id;
  });

  const started = (id: ComputeId) => ({
    id,
    socketDirectory: '/s',
    port: 5432,
    startLsn: lsn(0x2000000n),
    commitLsn: lsn(0x2000078n),
    idleDueAt: later(300),
    now: T0,
  });

  it('lets one of many claims through, each with a larger token than the last', async () => {
    const target = (await findWakeTarget(catalog.db, endpoint))!;
    expect(target).toMatchObject({
      timelineStartLsn: lsn(0x2000000n),
      systemIdentifier: (1n << 63n) + 5n,
      live: undefined,
    });
    const claims = await Promise.all(
      Array.from({ length: 8 }, () =>
        claimCompute(catalog.db, target, {
          id: computeId(),
          node,
          idleLimitSeconds: 300,
          memoryBytes: 0,
          quota: undefined,
          now: T0,
        }),
      ),
    );
    const winner = claims.filter((c) => c !== undefined);
    expect(winner).toHaveLength(1);
    expect(winner[0]!.fencing_token).toBe(1);
    await markGone(catalog.db, winner[0]!.id, { state: 'failed', why: 'gone', now: T0 });
    expect(
      (
        await claimCompute(catalog.db, target, {
          id: computeId(),
          node,
          idleLimitSeconds: 300,
          memoryBytes: 0,
          quota: undefined,
          now: T0,
        })
      )?.fencing_token,
    ).toBe(2);
  });

  it('knows the head exactly before the first start and after a clean suspend, not in between', async () => {
    const target = (await findWakeTarget(catalog.db, endpoint))!;
    const head = async () => (await findForkSource(catalog.db, projectId, fork.id))?.branch?.headLsn;
    const id = computeId();
    await claimCompute(catalog.db, target, {
      id,
      node,
      idleLimitSeconds: 300,
      memoryBytes: 0,
      quota: undefined,
      now: T0,
    });
    expect(await head()).toBe(lsn(0x2000000n));
    expect(await markRunning(catalog.db, started(id))).toMatchObject({ id, state: 'running' });
    expect(await head()).toBeUndefined();
    expect(await markStopped(catalog.db, id, lsn(0x2345678n), later(10))).toBe(true);
    expect(await head()).toBe(lsn(0x2345678n));
    expect(await markRunning(catalog.db, started(id))).toBeUndefined();
  });

  it('believes the last words of a compute only while no other has run on its timeline since', async () => {
    const of = child(root);
    await insertBranch(catalog.db, of);
    const first = computeId();
    const claim = { node, idleLimitSeconds: 300, memoryBytes: 0, quota: undefined, now: T0 };
    const [before, after] = [of.endpoints[0]!.id, endpointId()];
    await claimCompute(catalog.db, (await findWakeTarget(catalog.db, before))!, { ...claim, id: first });
    await markRunning(catalog.db, started(first));
    await beginStop(catalog.db, first);
    await catalog.db.transaction().execute((tx) => markEndpointDeleted(tx, before, later(1)));
    const settings = { branchId: of.id, name: '', disabled: false, ...of.endpoints[0]!, id: after };
    await insertEndpoint(catalog.db, projectId, settings, later(1));
    const second = computeId();
    await claimCompute(catalog.db, (await findWakeTarget(catalog.db, after))!, { ...claim, id: second });
    await server.query("update agents set max_computes = 100 where id = 'a1'");
    await markRunning(catalog.db, started(second));
    const given = await server.query<{ computes: number }>('delete from quota_releases returning computes');
    expect(given).toEqual([{ computes: 1 }]);
    await server.query("update agents set max_computes = null where id = 'a1'");
    expect(await markStopped(catalog.db, first, lsn(0x2345678n), later(10))).toBe(false);
    await markGone(catalog.db, second, { state: 'failed', why: 'killed', now: later(11) });
    expect((await findForkSource(catalog.db, projectId, of.id))?.branch?.headLsn).toBeUndefined();
  });

  it('finds what is idle by the time it was last active, and stops it only while it still is', async () => {
    const target = (await findWakeTarget(catalog.db, endpoint))!;
    const id = computeId();
    await claimCompute(catalog.db, target, {
      id,
      node,
      idleLimitSeconds: 300,
      memoryBytes: 0,
      quota: undefined,
      now: T0,
    });
    await markRunning(catalog.db, started(id));
    const due = async (at: Date) => (await findIdleComputes(catalog.db, at, 10)).map((c) => c.id);
    expect(await due(later(299))).not.toContain(id);
    expect(await due(later(301))).toContain(id);
    const report = { computeId: id, lastActiveAt: later(200), commitLsn: lsn(0x2100000n) };
    await recordActivity(catalog.db, node.id, [report], later(200));
    expect(await due(later(301))).not.toContain(id);
    expect(await beginStop(catalog.db, id, { idleAt: later(301) })).toBe(false);
    expect(await keepAwake(catalog.db, id, later(490))).toBe(true);
    expect(await beginStop(catalog.db, id, { idleAt: later(501) })).toBe(false);
    expect(await beginStop(catalog.db, id, { idleAt: later(791) })).toBe(true);
    expect(await keepAwake(catalog.db, id, later(792))).toBe(false);
    expect(await listAgents(catalog.db, new Date(T0.getTime() - 1))).toMatchObject([{ id: 'agent-1' }]);
  });

  it('reads only due rows when it looks for idle computes', async () => {
    await server.query('analyze computes');
    const plan = await server.query<{ 'QUERY PLAN': string }>(
      "set enable_seqscan = off; explain select * from computes where state = 'running' and idle_due_at is not null and idle_due_at <= now() order by idle_due_at limit 10",
    );
    expect(plan.map((r) => r['QUERY PLAN']).join('\n')).toContain('computes_idle');
  });

  it('tells a restarted agent from a running one', async () => {
    expect(await recordAgentHeartbeat(catalog.db, { ...node, address: 'unix:/a', now: T0 })).toEqual({
      isNew: false,
    });
    expect(
      await recordAgentHeartbeat(catalog.db, { ...node, incarnation: 'i2', address: 'unix:/a', now: T0 }),
    ).toEqual({ isNew: true });
  });
});
