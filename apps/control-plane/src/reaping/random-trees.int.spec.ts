/** Random trees over a real metadata Postgres, changed and swept by several at once through two control-planes. */
import { asCoppiceError } from '@coppice/service-kit';
import { FULL, SeededRandom } from '@coppice/testing';
import { call, ControlPlaneWorld, RECOVERY_WINDOW_MS } from '../testing/control-plane-world';

const SEEDS = FULL ? [1, 2, 3, 4, 5, 6] : [1];
const WORKERS = 4;
const STEPS = 60;
/** What a request may come to when others change the same tree. */
const REFUSALS = new Set(['Conflict', 'NotFound', 'Invalid', 'Locked', 'NotYet']);
/** Each control-plane of the test counts for itself, and gives way to the other. */
const CONTENDED = 'quota-contended';
const PURGES = ['deleted-branch', 'deleted-project', 'deleted-timeline', 'expired-branch'];

let world: ControlPlaneWorld;
beforeAll(async () => void (world = await ControlPlaneWorld.start()));
afterAll(() => world?.stop());

/** Timelines on the way from any branch or checkpoint of the project that is in the tables to its template. */
const NEEDED = `
  with recursive chain as (
    select t.* from timelines t where t.id in (
      select timeline_id from branches where project_id = $1 union select timeline_id from checkpoints where project_id = $1)
    union select t.* from chain c join timelines t on t.id = c.ancestor_id
  ) select id, coalesce(retained_from = 'FFFFFFFF/FFFFFFFF', false) as barred from chain where ancestor_id is not null`;

async function needed(projectId: string): Promise<{ id: string; barred: boolean }[]> {
  return world.server.query<{ id: string; barred: boolean }>(NEEDED, [projectId]);
}

/** Faults of what a user still has, or may still have back. */
async function faults(projectId: string): Promise<string[]> {
  const removed = new Set<string>(world.quorum.deleted.map((d) => d.timelineId));
  const rows = await needed(projectId);
  return rows.filter((r) => r.barred || removed.has(r.id)).map((r) => `timeline ${r.id} is needed and gone`);
}

class Worker {
  readonly #random: SeededRandom;
  readonly #projectId: string;
  readonly refused = new Map<string, number>();

  constructor(seed: number, projectId: string) {
    this.#random = new SeededRandom(seed);
    this.#projectId = projectId;
  }

  async run(steps: number): Promise<void> {
    for (let n = 0; n < steps; n++) {
      try {
        await this.#step();
      } catch (error) {
        const { kind, code } = asCoppiceError(error);
        if (!REFUSALS.has(kind) && code !== CONTENDED) throw error;
        this.refused.set(code, (this.refused.get(code) ?? 0) + 1);
      }
    }
  }

  async #step(): Promise<void> {
    const projectId = this.#projectId;
    const control = this.#random.chance(0.5) ? world.control : world.control2;
    const { branches } = await control.listBranches({ projectId, includeDeleted: true }, call);
    const branch = branches.length === 0 ? undefined : this.#random.pick(branches);
    if (!branch) return;
    const ref = { projectId, branchId: branch.id };
    switch (this.#random.between(0, 11)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return void (await control.createBranch({ projectId, parentId: branch.id }, call));
      case 4:
        return void (await control.restoreBranch({ ...ref, sourceBranchId: '' }, call));
      case 5:
        return void (await control.createCheckpoint(ref, call));
      case 6: {
        const { checkpoints } = await control.listCheckpoints(ref, call);
        if (checkpoints.length === 0) return;
        return void (await control.deleteCheckpoint({ ...ref, checkpoint: checkpoints[0]!.id }, call));
      }
      case 7:
      case 8: {
        const children = this.#random.pick(['refuse', 'delete', 'keep']);
        const hard = this.#random.chance(0.6);
        return void (await control.deleteBranch({ ...ref, children, hard }, call));
      }
      case 9:
        return void (await control.recoverBranch(ref, call));
      default:
        await sweep(this.#random.pick([world.internal, world.other]), this.#random.pick(PURGES));
    }
  }
}

async function sweep(by: ControlPlaneWorld['internal'], kind: string): Promise<number> {
  const { due, items } = await by.sweep({ kind, limit: 1000, dryRun: false });
  expect(items.map((i) => i.failure).filter(Boolean)).toEqual([]);
  return due;
}

describe('random trees', () => {
  it.each(SEEDS)('lose nothing that is needed and keep nothing that is not, from seed %i', async (seed) => {
    world.skewMs = 0;
    await world.heartbeat(world.agent);
    const projectId = (await world.project()).project.id;
    const workers = Array.from({ length: WORKERS }, (_, n) => new Worker(seed * 100 + n, projectId));
    for (let round = 0; round < 3; round++) {
      await Promise.all(workers.map((w) => w.run(STEPS / 3)));
      expect(await faults(projectId)).toEqual([]);
    }
    world.skewMs = RECOVERY_WINDOW_MS + 60_000;
    for (let due = 1; due > 0; ) {
      due = 0;
      for (const kind of PURGES) due += await sweep(world.internal, kind);
    }
    expect(await faults(projectId)).toEqual([]);
    const left = await world.server.query<{ id: string }>('select id from timelines where project_id = $1', [
      projectId,
    ]);
    const wanted = new Set((await needed(projectId)).map((r) => r.id));
    expect(left.map((r) => r.id).filter((id) => !wanted.has(id))).toEqual([]);
    const removed = new Map<string, Set<string>>();
    for (const { timelineId, by } of world.quorum.deleted)
      removed.set(timelineId, (removed.get(timelineId) ?? new Set()).add(by));
    expect([...removed.values()].filter((by) => by.size < 4)).toEqual([]);
    expect(removed.size).toBeGreaterThan(5);
  });
});
