/**
 * Random trees over a dumb model of the metadata: forks, deletions, recoveries, restores in place and checkpoints, between the
 * steps of purges that die anywhere. Decides with the function that the real purge decides with.
 */
import { SeededRandom } from '@coppice/testing';
import { timelineVerdict } from './purge';

interface Timeline {
  readonly ancestor: Timeline | undefined;
  row: boolean;
  due: boolean;
  barred: boolean;
  onSafekeepers: boolean;
  onPageserver: boolean;
}
interface Branch {
  timeline: Timeline;
  parent: Branch | undefined;
  /** Which request deleted it. */
  deletion: number | undefined;
  windowOver: boolean;
  row: boolean;
}
interface Checkpoint {
  readonly branch: Branch | undefined;
  readonly timeline: Timeline;
}

class Model {
  readonly random: SeededRandom;
  readonly template = this.#timeline(undefined);
  readonly timelines: Timeline[] = [this.template];
  branches: Branch[] = [];
  checkpoints: Checkpoint[] = [];
  /** Removals under way: the timeline and which step comes next. */
  removals: { readonly timeline: Timeline; step: number }[] = [];
  #deletions = 0;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    this.#add(this.template, undefined);
  }

  get live(): Branch[] {
    return this.branches.filter((b) => b.deletion === undefined);
  }

  #timeline(ancestor: Timeline | undefined): Timeline {
    return { ancestor, row: true, due: false, barred: false, onSafekeepers: true, onPageserver: true };
  }

  #fork(ancestor: Timeline): Timeline | undefined {
    if (!ancestor.row || ancestor.barred) return undefined;
    const timeline = this.#timeline(ancestor);
    this.timelines.push(timeline);
    return timeline;
  }

  #add(ancestor: Timeline, parent: Branch | undefined): void {
    const timeline = this.#fork(ancestor);
    if (timeline) this.branches.push({ timeline, parent, deletion: undefined, windowOver: false, row: true });
  }

  #pick<T>(items: readonly T[]): T | undefined {
    return items.length === 0 ? undefined : items[Math.floor(this.random.unit() * items.length)];
  }

  fork(): void {
    const parent = this.#pick(this.live);
    if (parent) this.#add(parent.timeline, parent);
    else this.#add(this.template, undefined);
  }

  forkCheckpoint(): void {
    const checkpoint = this.#pick(this.checkpoints);
    if (checkpoint) this.#add(checkpoint.timeline, undefined);
  }

  restore(): void {
    const branch = this.#pick(this.live);
    const next = branch && this.#fork(branch.timeline.ancestor ?? branch.timeline);
    if (!branch || !next) return;
    if (this.random.unit() < 0.5) this.checkpoints.push({ branch, timeline: branch.timeline });
    else branch.timeline.due = true;
    branch.timeline = next;
  }

  checkpoint(): void {
    const branch = this.#pick(this.live);
    if (branch)
      this.checkpoints.push({
        branch: this.random.unit() < 0.5 ? branch : undefined,
        timeline: branch.timeline,
      });
  }

  dropCheckpoint(): void {
    const checkpoint = this.#pick(this.checkpoints);
    if (!checkpoint) return;
    this.checkpoints = this.checkpoints.filter((c) => c !== checkpoint);
    checkpoint.timeline.due = true;
  }

  delete(): void {
    const root = this.#pick(this.live);
    if (!root) return;
    const going = [root];
    if (this.random.unit() < 0.6)
      for (const at of going) going.push(...this.live.filter((b) => b.parent === at && !going.includes(b)));
    const deletion = ++this.#deletions;
    const hard = this.random.unit() < 0.3;
    for (const b of going) Object.assign(b, { deletion, windowOver: hard });
  }

  recover(): void {
    const branch = this.#pick(this.branches.filter((b) => b.deletion !== undefined && !b.windowOver));
    if (!branch) return;
    const { deletion } = branch;
    for (const b of this.branches.filter((x) => x.deletion === deletion)) b.deletion = undefined;
  }

  passWindow(): void {
    const branch = this.#pick(this.branches.filter((b) => b.deletion !== undefined));
    for (const b of this.branches) if (branch && b.deletion === branch.deletion) b.windowOver = true;
  }

  purgeBranch(): void {
    const gone = this.#pick(this.branches.filter((b) => b.deletion !== undefined && b.windowOver));
    if (!gone) return;
    this.branches = this.branches.filter((b) => b !== gone);
    for (const c of this.checkpoints.filter((x) => x.branch === gone)) c.timeline.due = true;
    this.checkpoints = this.checkpoints.filter((c) => c.branch !== gone);
    gone.timeline.due = true;
  }

  look(): void {
    const timeline = this.#pick(this.timelines.filter((t) => t.row && t.due));
    if (!timeline) return;
    if (!timeline.barred) {
      const verdict = timelineVerdict({
        isTemplate: timeline === this.template,
        branches: this.branches.filter((b) => b.timeline === timeline).length,
        children: this.timelines.filter((t) => t.row && t.ancestor === timeline).length,
        checkpoints: this.checkpoints.filter((c) => c.timeline === timeline).length,
        liveComputes: 0,
      });
      timeline.barred = verdict === 'remove';
      timeline.due = verdict !== 'needed';
    }
    if (timeline.barred) this.removals.push({ timeline, step: 0 });
  }

  removalStep(): void {
    const removal = this.#pick(this.removals);
    if (!removal) return;
    const { timeline } = removal;
    switch (removal.step++) {
      case 0:
        timeline.onSafekeepers = false;
        return;
      case 1:
        timeline.onPageserver = false;
        return;
      default:
        if (timeline.row && timeline.ancestor) timeline.ancestor.due = true;
        timeline.row = false;
        this.removals = this.removals.filter((r) => r !== removal);
    }
  }

  die(): void {
    this.removals = [];
  }

  /** All that a branch or checkpoint which is not past its window needs is there. */
  faults(): string[] {
    const faults: string[] = [];
    const needed = [...this.branches.filter((b) => !b.windowOver), ...this.checkpoints];
    for (const { timeline } of needed)
      for (let t: Timeline | undefined = timeline; t; t = t.ancestor)
        if (!t.row || t.barred || !t.onSafekeepers || !t.onPageserver)
          faults.push('an ancestor of a survivor is gone');
    for (const t of this.timelines)
      if (!t.row && (t.onSafekeepers || t.onPageserver)) faults.push('storage of a forgotten timeline');
    return faults;
  }

  /** Lets all windows pass and all purges end; what nobody needs must be gone then. */
  settle(): string[] {
    for (const b of this.branches) b.windowOver = b.deletion !== undefined;
    for (let quiet = 0; quiet < 3; ) {
      const due = this.branches.some((b) => b.windowOver) || this.timelines.some((t) => t.row && t.due);
      quiet = due || this.removals.length > 0 ? 0 : quiet + 1;
      this.purgeBranch();
      this.look();
      this.removalStep();
    }
    const needed = new Set<Timeline>([this.template]);
    for (const { timeline } of [...this.branches, ...this.checkpoints])
      for (let t: Timeline | undefined = timeline; t; t = t.ancestor) needed.add(t);
    return this.timelines.filter((t) => t.row && !needed.has(t)).map(() => 'a timeline nobody needs is left');
  }

  step(): void {
    const moves = [
      () => this.fork(),
      () => this.fork(),
      () => this.fork(),
      () => this.forkCheckpoint(),
      () => this.restore(),
      () => this.checkpoint(),
      () => this.dropCheckpoint(),
      () => this.delete(),
      () => this.recover(),
      () => this.passWindow(),
      () => this.purgeBranch(),
      () => this.look(),
      () => this.look(),
      () => this.removalStep(),
      () => this.removalStep(),
      () => this.removalStep(),
      () => this.die(),
    ];
    this.#pick(moves)!();
  }
}

function faultOf(seed: number): { fault: string | undefined; purged: number } {
  const model = new Model(seed);
  for (let step = 0; step < 250; step++) {
    model.step();
    const [fault] = model.faults();
    if (fault !== undefined) return { fault: `seed ${seed}, step ${step}: ${fault}`, purged: 0 };
  }
  const [fault] = [...model.settle(), ...model.faults()];
  return {
    fault: fault && `seed ${seed}, at rest: ${fault}`,
    purged: model.timelines.filter((t) => !t.row).length,
  };
}

describe('purges', () => {
  it('take nothing that a survivor needs and leave nothing that nobody does, whatever dies when', () => {
    let purged = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const run = faultOf(seed);
      expect(run.fault).toBeUndefined();
      purged += run.purged;
    }
    expect(purged).toBeGreaterThan(1_000);
  });
});
