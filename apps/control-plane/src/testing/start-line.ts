/**
 * A fleet in simulated time whose starts get their turns from the real decision: agents that come with storms and single starts,
 * small and large ones, nodes with little room, starts that fail. What the order of starts promises is checked at each turn.
 */
import { SeededRandom } from '@coppice/testing';
import type { NodeId } from '@coppice/vocabulary';
import type * as startOrder from '../computes/start-order';
import type { Place, Share, WaitingStart } from '../computes/start-order';

export type StartOrderCode = Pick<typeof startOrder, 'nextTurn' | 'whoYields' | 'KEPT_MS'>;

const TICK_MS = 100;
const ARRIVALS_END_MS = 60_000;
/** By then everything has begun that could: computes end, and nothing new comes. */
const LIMIT_MS = 900_000;

interface Start extends WaitingStart {
  stuckSince: number | undefined;
}

interface Node {
  readonly id: NodeId;
  readonly startsAtOnce: number;
  readonly maxComputes: number;
  readonly bytes: number;
}

/** One that starts or runs. */
interface Compute {
  readonly start: Start;
  readonly node: Node;
  readonly readyAt: number;
  readonly endsAt: number;
}

export interface LineReport {
  begun: number;
  failed: number;
  stuck: number;
  passed: number;
  yielded: number;
  tooLarge: number;
}

/** Runs one seed. Throws `seed N, at T ms: …` when a promise is broken. */
export function runLine(seed: number, code: StartOrderCode): LineReport {
  return new Fleet(seed, code).run();
}

class Fleet {
  readonly #random: SeededRandom;
  readonly #nodes: readonly Node[];
  readonly #length: number;
  readonly #waiting: Start[] = [];
  readonly #shares = new Map<string, Share>();
  /** Who had a turn since an agent last began to wait with nothing under way. */
  readonly #turnsWhileWaiting = new Map<string, Set<string>>();
  #computes: Compute[] = [];
  #now = 0;
  #orders = 0;
  #turns = 0;
  readonly #report: LineReport = { begun: 0, failed: 0, stuck: 0, passed: 0, yielded: 0, tooLarge: 0 };

  constructor(
    readonly seed: number,
    readonly code: StartOrderCode,
  ) {
    this.#random = new SeededRandom(seed);
    const random = this.#random;
    this.#length = random.between(5, 60);
    this.#nodes = Array.from({ length: random.between(1, 3) }, (_, i) => ({
      id: `agent-${i + 1}` as NodeId,
      startsAtOnce: random.between(1, 3),
      maxComputes: random.between(3, 15),
      bytes: random.between(300, 900),
    }));
  }

  run(): LineReport {
    for (; this.#now < ARRIVALS_END_MS || this.#waiting.length > 0; this.#now += TICK_MS) {
      this.#insist(this.#now < LIMIT_MS, `${this.#waiting.length} starts never get their turn`);
      if (this.#now < ARRIVALS_END_MS) this.#arrive();
      this.#end();
      this.#round();
    }
    return this.#report;
  }

  #arrive(): void {
    const random = this.#random;
    if (!random.chance(0.04)) return;
    const agentId = `a${random.between(1, 5)}`;
    const many = random.chance(0.2) ? random.between(5, 40) : 1;
    for (let i = 0; i < many; i++)
      this.#join({ agentId, bytes: this.#size(), order: ++this.#orders, failedOn: new Set() });
  }

  #size(): number {
    if (this.#random.chance(0.02)) return 1_000;
    return this.#random.chance(0.15) ? this.#random.between(150, 300) : this.#random.between(20, 60);
  }

  #join(wanted: Omit<WaitingStart, 'stuckMs'>): void {
    const now = (): number => this.#now;
    const start: Start = {
      ...wanted,
      stuckSince: undefined,
      get stuckMs() {
        return this.stuckSince === undefined ? 0 : now() - this.stuckSince;
      },
    };
    if (this.#waiting.length >= this.#length) {
      const yields = this.code.whoYields(this.#waiting, start);
      this.#report.yielded += 1;
      const countOf = (a: string): number => this.#waitingOf(a).length + (a === start.agentId ? 1 : 0);
      const most = Math.max(countOf(start.agentId), ...this.#agents().map(countOf));
      const loser = yields?.agentId ?? start.agentId;
      this.#insist(countOf(loser) === most, `${loser} gives way, where another has more in line`);
      if (yields === undefined) return;
      this.#insist(loser !== start.agentId, 'one in line gives way to a later one of its agent');
      this.#insist(
        this.#waitingOf(loser).at(-1) === yields,
        'one that came before another of its agent gives way',
      );
      this.#leave(yields);
    }
    if (this.#waitingOf(start.agentId).length === 0 && this.#underWay(start.agentId) === 0)
      this.#turnsWhileWaiting.set(start.agentId, new Set());
    this.#waiting.push(start);
    this.#insist(this.#waiting.length <= this.#length, 'the line is longer than it may be');
  }

  /** Starts become computes, or fail and come again; computes end. */
  #end(): void {
    const starting = this.#computes.filter((c) => c.readyAt === this.#now);
    for (const { start, node } of starting) {
      const share = this.#shares.get(start.agentId)!;
      this.#shares.set(start.agentId, { ...share, underWay: share.underWay - 1 });
      if (share.underWay === 1) this.#turnsWhileWaiting.set(start.agentId, new Set());
      if (!this.#random.chance(0.08)) continue;
      this.#report.failed += 1;
      this.#computes = this.#computes.filter((c) => c.start !== start);
      if (start.failedOn.size === 0) this.#join({ ...start, failedOn: new Set([node.id]) });
    }
    this.#computes = this.#computes.filter((c) => c.endsAt > this.#now);
  }

  #round(): void {
    for (;;) {
      const places = this.#nodes.map((node) => this.#place(node));
      const turn = this.code.nextTurn(this.#waiting, this.#shares, places);
      if (turn.kind === 'wait') {
        for (const { start } of turn.stuck) {
          if (start.stuckSince === undefined) this.#report.stuck += 1;
          start.stuckSince ??= this.#now;
        }
        return this.#checkWait(
          places,
          turn.stuck.map((s) => s.start),
        );
      }
      if (turn.kind === 'too-large') {
        this.#insist(
          this.#nodes.every((n) => n.bytes < turn.start.bytes),
          'what an empty node has room for is refused',
        );
        this.#report.tooLarge += 1;
        this.#leave(turn.start);
        this.#shares.set(turn.start.agentId, {
          underWay: this.#underWay(turn.start.agentId),
          lastTurn: ++this.#turns,
        });
      } else this.#begin(turn.start, places.find((p) => p.node === turn.node)!);
    }
  }

  #begin(start: Start, place: Place): void {
    this.#insist(
      this.#waitingOf(start.agentId)[0] === start,
      'a start passes one of its agent that came before',
    );
    this.#insist(place.freeStarts > 0, 'a node has more starts under way than it wants');
    this.#insist(
      place.freeComputes > 0 && place.freeBytes >= start.bytes,
      'a compute starts where it has no room',
    );
    const elsewhere = this.#nodes.some((n) => !start.failedOn.has(n.id));
    this.#insist(!elsewhere || !start.failedOn.has(place.node), 'a start is tried again where it failed');
    const rivals = this.#agents()
      .filter((a) => a !== start.agentId)
      .map((agentId) => this.#waitingOf(agentId)[0]!)
      .filter((head) => head.bytes <= place.freeBytes && !head.failedOn.has(place.node));
    for (const { agentId } of rivals) {
      const [mine, theirs] = [this.#underWay(start.agentId), this.#underWay(agentId)];
      this.#insist(theirs >= mine, `an agent with ${mine} under way goes before one with ${theirs}`);
      const seen = this.#turnsWhileWaiting.get(agentId);
      this.#insist(
        theirs > 0 || !seen?.has(start.agentId),
        'an agent has two turns while another waits for its first',
      );
    }
    const stuck = this.#stuckBefore(start);
    if (stuck.length > 0) this.#report.passed += 1;
    if (this.#nodes.length === 1)
      this.#insist(
        stuck.every((s) => s.stuckMs >= this.code.KEPT_MS),
        'a start takes the room that is kept for another',
      );
    for (const seen of this.#turnsWhileWaiting.values()) seen.add(start.agentId);
    this.#leave(start);
    this.#shares.set(start.agentId, { underWay: this.#underWay(start.agentId) + 1, lastTurn: ++this.#turns });
    const readyAt = this.#now + TICK_MS * this.#random.between(2, 8);
    const node = this.#nodes.find((n) => n.id === place.node)!;
    this.#computes.push({ start, node, readyAt, endsAt: readyAt + TICK_MS * this.#random.between(10, 300) });
    this.#report.begun += 1;
  }

  /** Nothing can begin: every first of an agent has no free node, no room, or a node kept by another. */
  #checkWait(places: readonly Place[], stuck: readonly Start[]): void {
    if (stuck.some((s) => s.stuckMs < this.code.KEPT_MS)) return;
    for (const agentId of this.#agents()) {
      const head = this.#waitingOf(agentId)[0]!;
      const allowed = places.filter(
        (p) => !head.failedOn.has(p.node) || this.#nodes.every((n) => head.failedOn.has(n.id)),
      );
      const could = allowed.some((p) => p.freeStarts > 0 && p.freeComputes > 0 && p.freeBytes >= head.bytes);
      this.#insist(!could, 'a start waits though it could begin, and nobody has room kept any more');
    }
  }

  /** Those that came before `start`, whose agents had no turn yet, and that have no room on any node. */
  #stuckBefore(start: Start): Start[] {
    const places = this.#nodes.map((node) => this.#place(node)).filter((p) => p.freeStarts > 0);
    return this.#agents()
      .filter((a) => this.#shares.get(a) === undefined)
      .map((a) => this.#waitingOf(a)[0]!)
      .filter((s) => s.order < start.order && s.stuckSince !== undefined && s.stuckSince < this.#now)
      .filter((s) => places.every((p) => p.freeComputes <= 0 || p.freeBytes < s.bytes));
  }

  #place(node: Node): Place {
    const here = this.#computes.filter((c) => c.node === node);
    return {
      node: node.id,
      freeStarts: node.startsAtOnce - here.filter((c) => c.readyAt > this.#now).length,
      freeComputes: node.maxComputes - here.length,
      freeBytes: node.bytes - here.reduce((sum, c) => sum + c.start.bytes, 0),
      allBytes: node.bytes,
      computes: here.length,
    };
  }

  #agents(): string[] {
    return [...new Set(this.#waiting.map((s) => s.agentId))];
  }

  /** In the order of their coming. */
  #waitingOf(agentId: string): Start[] {
    return this.#waiting.filter((s) => s.agentId === agentId).sort((a, b) => a.order - b.order);
  }

  #underWay(agentId: string): number {
    return this.#shares.get(agentId)?.underWay ?? 0;
  }

  #leave(start: Start): void {
    this.#waiting.splice(this.#waiting.indexOf(start), 1);
  }

  #insist(holds: boolean, broken: string): void {
    if (!holds) throw new Error(`seed ${this.seed}, at ${this.#now} ms: ${broken}`);
  }
}
