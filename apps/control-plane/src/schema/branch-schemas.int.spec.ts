import { parseLsn } from '@coppice/vocabulary';
import type { BranchCreated, ProjectCreated, RunSqlRequest } from '@coppice/contracts';
import { armFailpoint } from '@coppice/service-kit';
import type { TestPostgres } from '@coppice/testing';
import { call, ControlPlaneWorld, errorOf, timelineOf } from '../testing/control-plane-world';
import { answerSql, postgresBehindAgent } from '../testing/postgres-behind-agent';

let world: ControlPlaneWorld;
let postgres: TestPostgres;
let made: ProjectCreated;
let projectId: string;
const asked: RunSqlRequest[] = [];
beforeAll(async () => {
  world = await ControlPlaneWorld.start();
  postgres = await postgresBehindAgent();
  await postgres.query('create table public.t (a int primary key, b text not null)', [], {
    database: 'neondb',
  });
  world.agent.sql = (request) => {
    asked.push(request);
    return answerSql(postgres, request);
  };
});
afterAll(async () => {
  await world?.stop();
  await postgres?.dispose();
});
beforeEach(async () => {
  world.skewMs = 0;
  asked.length = 0;
  await world.heartbeat(world.agent);
  made = await world.project();
  projectId = made.project.id;
});

const get = (over: object = {}) =>
  world.control.getBranchSchema({ projectId, branchId: made.branch.id, database: 'neondb', ...over }, call);
const compare = (branchId: string, over: object = {}) =>
  world.control.compareBranchSchemas({ projectId, branchId, database: 'neondb', ...over }, call);
const codeOf = async (work: Promise<unknown>) => (await errorOf(work)).code;
const live = async () =>
  (await world.internal.listRunning({})).computes.filter((c) => c.projectId === projectId);
/** A position before the head: an ended compute has written since. */
async function past(): Promise<bigint> {
  await world.internal.wake({ endpointId: made.endpoints[0]!.id });
  const lsn = world.quorum.commit(timelineOf(made));
  world.quorum.commit(timelineOf(made));
  return lsn;
}

describe('the schema of a branch', () => {
  it('is told as SQL and as JSON from the compute that runs the branch, in one transaction that reads only', async () => {
    const { sql, json } = await get();
    expect(sql).toContain('CREATE TABLE public.t (');
    expect(JSON.parse(json)).toMatchObject({
      tables: [{ name: 't', constraints: [{ type: 'primary_key', columns: ['a'] }] }],
    });
    const [size, all] = asked;
    expect(asked).toHaveLength(2);
    expect([size!.readOnly, all!.readOnly, all!.separate]).toEqual([true, true, false]);
    expect(all!.statements[0]).toBe('set transaction isolation level repeatable read, read only');
    expect(await live()).toHaveLength(1);
  });

  it('at an earlier position is read on a timeline of its own, of which nothing is left', async () => {
    const lsn = await past();
    const before = new Set(world.agent.computes.keys());
    const { sql } = await get({ lsn });
    expect(sql).toContain('CREATE TABLE public.t (');
    const start = world.agent.starts.at(-1)!;
    expect(start.timelineStartLsn).toBe(lsn - (lsn % 0x100n));
    expect(start.timelineId).not.toBe(timelineOf(made));
    expect(new Set(world.agent.computes.keys())).toEqual(before);
    expect(await live()).toHaveLength(1);
    const { items } = await world.internal.sweep({ kind: 'deleted-timeline', limit: 100, dryRun: true });
    expect(items.map((i) => i.id)).toContain(start.timelineId);
    const { branches } = await world.control.listBranches({ projectId }, call);
    const { endpoints } = await world.control.listEndpoints({ projectId }, call);
    expect([branches.length, endpoints.length]).toEqual([1, 1]);
  });

  it('of a branch without endpoint is read all the same', async () => {
    const { branch } = await world.fork(projectId, { endpoints: [] });
    expect((await get({ branchId: branch.id })).sql).toContain('CREATE TABLE public.t (');
    expect(await live()).toEqual([]);
  });

  it('is refused for what is not there', async () => {
    expect(await codeOf(get({ database: 'nope' }))).toBe('database-not-found');
    expect(await codeOf(get({ branchId: 'br-a-b-1' }))).toBe('branch-not-found');
    expect(await codeOf(get({ lsn: parseLsn('FFFF/0')! }))).toBe('lsn-in-future');
    expect(await codeOf(get({ lsn: 1n, timestampUnixMicros: 1 }))).toBe('two-fork-points');
    expect(await codeOf(get({ lsn: await past(), database: 'nope' }))).toBe('database-not-found');
    expect(await live()).toHaveLength(1);
  });

  it('leaves nothing for long when the control-plane dies while a compute runs for it', async () => {
    const lsn = await past();
    const disarm = armFailpoint('passing-compute-discarded', 'error');
    await get({ lsn }).catch(() => undefined);
    disarm();
    const passing = world.agent.starts.at(-1)!;
    expect(world.agent.computes.has(passing.computeId)).toBe(true);
    world.skewMs = 61_000;
    await world.internal.suspendIdle({ limit: 100, dryRun: false });
    expect(world.agent.computes.has(passing.computeId)).toBe(false);
    const due = async () =>
      (await world.internal.sweep({ kind: 'deleted-timeline', limit: 100, dryRun: true })).items.map(
        (i) => i.id,
      );
    expect(await due()).not.toContain(passing.timelineId);
    world.skewMs = 301_000;
    expect(await due()).toContain(passing.timelineId);
  });

  it('is read by many at once', async () => {
    const lsn = await past();
    const all = await Promise.all(Array.from({ length: 8 }, () => get({ lsn })));
    for (const { sql } of all) expect(sql).toContain('CREATE TABLE public.t (');
    expect(await live()).toHaveLength(1);
  });
});

describe('the comparison of schemas', () => {
  it('is empty for equal ones, with the parent unless another base is named', async () => {
    const child: BranchCreated = await world.fork(projectId);
    expect((await compare(child.branch.id)).diff).toBe('');
    expect(await codeOf(compare(made.branch.id))).toBe('branch-has-no-parent');
    expect(
      (await compare(made.branch.id, { baseBranchId: made.branch.id, baseLsn: await past() })).diff,
    ).toBe('');
  });

  it('shows what changed', async () => {
    const child = await world.fork(projectId);
    const passing = (request: RunSqlRequest) =>
      world.agent.starts.find((s) => s.computeId === request.computeId)!.timelineId === timelineOf(child);
    await postgres.disconnect();
    await postgres.query('create database changed template neondb');
    await postgres.query('alter table public.t add c int', [], { database: 'changed' });
    const answer = world.agent.sql;
    world.agent.sql = (request) => answer(passing(request) ? { ...request, database: 'changed' } : request);
    const { diff } = await compare(child.branch.id);
    world.agent.sql = answer;
    expect(diff).toContain('--- a/neondb');
    expect(diff).toContain('+++ b/neondb');
    expect(diff.split('\n').filter((line) => /^\+[^+]/.test(line))).toEqual([
      '+    b text NOT NULL,',
      '+    c integer',
    ]);
  });
});
