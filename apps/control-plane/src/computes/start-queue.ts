/**
 * The line in which starts of computes wait: bounded, fair between agents, and with no more under way on a node than that node
 * does well with. Who is next is decided in start-order.ts.
 *
 *   run ──► [waiting] ──turn──► work on a node ──► its place is free for the next
 *              │ └─ too long: refused with what it waited for
 *              └─── the caller leaves: forgotten
 *
 * Each control-plane has its own line; what several of them start on one node at once waits in that node's agent.
 */
import type { AgentNode } from '@coppice/catalog';
import {
  BackgroundLoop,
  type Clock,
  CoppiceError,
  Counter,
  Gauge,
  Histogram,
  type Log,
  part,
  type Part,
} from '@coppice/service-kit';
import type { NodeId } from '@coppice/vocabulary';
import { expectedBytes, placesOf, type Reserved, shortagesOf } from './compute-memory';
import type { MakeRoom } from './make-room';
import { nextTurn, type Share, type WaitingStart, whoYields } from './start-order';

const waitingStarts = new Gauge({
  name: 'coppice_starts_waiting',
  help: 'Starts of computes that wait for their turn.',
});
const waitSeconds = new Histogram({
  name: 'coppice_start_wait_seconds',
  help: 'Time that a start waited for its turn, seconds.',
  buckets: [0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 20, 40, 80],
});
const refusals = new Counter({
  name: 'coppice_starts_refused_total',
  help: 'Starts that did not get a turn: the line was full, or they waited too long.',
  labelNames: ['why'],
});

/** Nodes may have got room, or come, without our doing, milliseconds. */
const LOOK_AGAIN_MS = 200;

export interface StartQueueLimits {
  /** Starts that wait at once at most. */
  readonly length: number;
  /** Time that one waits at most, milliseconds. */
  readonly waitMs: number;
}

export interface StartQueueServices {
  /** Those that report for duty. */
  readonly agents: () => Promise<readonly AgentNode[]>;
  readonly makeRoom: Pick<MakeRoom, 'begin'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: StartQueueLimits;
}

export interface WantedStart {
  /** What is started, for messages. */
  readonly what: string;
  /** The agent whose it is. */
  readonly agentId: string;
  readonly computeUnits: number;
  readonly failedOn: ReadonlySet<NodeId>;
  /** Of an earlier turn, which it keeps its place by. */
  readonly order?: number;
}

/** A turn. */
export interface StartTurn {
  readonly node: AgentNode;
  readonly order: number;
  readonly waitedMs: number;
  readonly expectedBytes: number;
  /** Says that the metadata has the compute. */
  claimed(): void;
}

interface Waiting extends WaitingStart {
  readonly what: string;
  readonly since: number;
  /** Since when there was no room for it at its turn, and what it was told of that. */
  stuckSince: number | undefined;
  obstacle: CoppiceError | undefined;
  readonly grant: (turn: StartTurn) => void;
  readonly refuse: (error: unknown) => void;
}

interface Place extends Reserved {
  claimed: boolean;
}

export class StartQueue {
  readonly #s: StartQueueServices;
  readonly #loop: BackgroundLoop;
  readonly #waiting = new Set<Waiting>();
  readonly #shares = new Map<string, Share>();
  readonly #underWay = new Map<NodeId, number>();
  #reserved: Place[] = [];
  #orders = 0;
  #turns = 0;

  constructor(services: StartQueueServices) {
    this.#s = services;
    this.#loop = new BackgroundLoop({
      name: 'start-queue',
      everyMs: LOOK_AGAIN_MS,
      log: services.log,
      run: () => this.#round(),
    });
  }

  asPart(): Part {
    return part(
      'start-queue',
      () => this.#loop.start(),
      async () => {
        await this.#loop.stop();
        for (const w of this.#waiting) this.#refuse(w, stopping());
      },
    );
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Runs `work` when it is this start's turn. `signal` takes it out of the line; it does not end `work`. */
  async run<T>(wanted: WantedStart, signal: AbortSignal, work: (turn: StartTurn) => Promise<T>): Promise<T> {
    const turn = await this.#wait(wanted, signal);
    const { id } = turn.node;
    try {
      return await work(turn);
    } finally {
      turn.claimed();
      this.#underWay.set(id, this.#underWay.get(id)! - 1);
      this.#leaveShare(wanted.agentId);
      this.#loop.nudge();
    }
  }

  #wait(wanted: WantedStart, signal: AbortSignal): Promise<StartTurn> {
    signal.throwIfAborted();
    const { clock, limits } = this.#s;
    if (this.#waiting.size >= limits.length) this.#makeWay(wanted);
    return new Promise<StartTurn>((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(waiting);
        waitingStarts.set(this.#waiting.size);
        signal.removeEventListener('abort', onAbort);
        tooLong.abort();
      };
      const waiting: Waiting = {
        what: wanted.what,
        agentId: wanted.agentId,
        order: wanted.order ?? ++this.#orders,
        bytes: expectedBytes(wanted.computeUnits),
        failedOn: wanted.failedOn,
        since: clock.monotonic(),
        stuckSince: undefined,
        obstacle: undefined,
        get stuckMs() {
          return waiting.stuckSince === undefined ? 0 : clock.monotonic() - waiting.stuckSince;
        },
        grant: (turn) => (leave(), resolve(turn)),
        refuse: (error) => (leave(), reject(error)),
      };
      const onAbort = (): void => {
        waiting.refuse(signal.reason);
        this.#forgetIfOver(wanted.agentId);
      };
      const tooLong = new AbortController();
      signal.addEventListener('abort', onAbort, { once: true });
      clock.sleep(limits.waitMs, tooLong.signal).then(
        () => this.#refuse(waiting, waiting.obstacle ?? this.#waitedTooLong(waiting)),
        () => undefined,
      );
      this.#waiting.add(waiting);
      waitingStarts.set(this.#waiting.size);
      this.#loop.nudge();
    });
  }

  /** One round: turns for all that can begin now. */
  async #round(): Promise<void> {
    if (this.#waiting.size === 0) return;
    const { agents, makeRoom, clock } = this.#s;
    // What is claimed by now is in what is read after.
    const seen = new Set(this.#reserved.filter((r) => r.claimed));
    const nodes = await agents();
    this.#reserved = this.#reserved.filter((r) => !seen.has(r));
    for (const waiting of this.#waiting) waiting.obstacle = nodes.length === 0 ? noAgent() : undefined;
    for (;;) {
      const places = placesOf(nodes, this.#underWay, this.#reserved);
      const turn = nextTurn([...this.#waiting], this.#shares, places);
      if (turn.kind === 'start') this.#begin(turn.start, nodes.find((n) => n.id === turn.node)!);
      else if (turn.kind === 'too-large') this.#refuse(turn.start, tooLarge(nodes, turn.start));
      else {
        for (const { start } of turn.stuck) {
          start.stuckSince ??= clock.monotonic();
          start.obstacle = noRoom(nodes, start.bytes);
        }
        const [first] = turn.stuck;
        if (first)
          makeRoom.begin(shortagesOf(places, first.nodes, first.start.bytes), () => this.#loop.nudge());
        return;
      }
    }
  }

  #begin(start: Waiting, node: AgentNode): void {
    const place: Place = { node: node.id, bytes: start.bytes, claimed: false };
    this.#reserved.push(place);
    this.#underWay.set(node.id, (this.#underWay.get(node.id) ?? 0) + 1);
    const underWay = (this.#shares.get(start.agentId)?.underWay ?? 0) + 1;
    this.#shares.set(start.agentId, { underWay, lastTurn: ++this.#turns });
    const waitedMs = this.#s.clock.monotonic() - start.since;
    waitSeconds.observe(waitedMs / 1000);
    start.grant({
      node,
      order: start.order,
      waitedMs,
      expectedBytes: start.bytes,
      claimed: () => void (place.claimed = true),
    });
  }

  #leaveShare(agentId: string): void {
    const share = this.#shares.get(agentId)!;
    this.#shares.set(agentId, { ...share, underWay: share.underWay - 1 });
    this.#forgetIfOver(agentId);
  }

  /** An agent without anything under way or in line is forgotten: it begins like a new one. */
  #forgetIfOver(agentId: string): void {
    const isOver = (this.#shares.get(agentId)?.underWay ?? 0) === 0;
    if (isOver && ![...this.#waiting].some((w) => w.agentId === agentId)) this.#shares.delete(agentId);
  }

  #makeWay(wanted: WantedStart): void {
    const { length } = this.#s.limits;
    const error = new CoppiceError(
      'Unavailable',
      'start-queue-full',
      `${length} starts of computes wait already, the most that may`,
      { remedy: 'Connect again in some seconds, to fewer endpoints at once.' },
    );
    const yields = whoYields([...this.#waiting], wanted);
    if (yields) return this.#refuse(yields, error);
    refusals.inc({ why: error.code });
    throw error;
  }

  /** That was a turn, too: others of its agent do not come before everybody else's. */
  #refuse(waiting: Waiting, error: CoppiceError): void {
    refusals.inc({ why: error.code });
    waiting.refuse(error);
    const { agentId } = waiting;
    this.#shares.set(agentId, {
      underWay: this.#shares.get(agentId)?.underWay ?? 0,
      lastTurn: ++this.#turns,
    });
    this.#forgetIfOver(agentId);
  }

  #waitedTooLong(waiting: Waiting): CoppiceError {
    const own = [...this.#waiting].filter((w) => w.agentId === waiting.agentId).length;
    return new CoppiceError(
      'Unavailable',
      'start-queue-timeout',
      `${waiting.what} waited ${this.#s.limits.waitMs} ms for its start; ${own} starts of this agent wait`,
      { remedy: 'Connect again shortly, and to fewer endpoints at once.' },
    );
  }
}

export function noAgent(): CoppiceError {
  return new CoppiceError('Unavailable', 'no-compute-agent', 'no compute agent reports for duty', {
    remedy: 'Try again shortly; if it lasts, look at the compute agents.',
  });
}

function tooLarge(nodes: readonly AgentNode[], { what, bytes }: Waiting): CoppiceError {
  const most = Math.max(...nodes.map((n) => n.memory_bytes ?? Infinity));
  return new CoppiceError(
    'Unavailable',
    'compute-too-large',
    `${what} is expected to take ${mib(bytes)}; the largest compute agent has ${mib(most)} for computes`,
    { remedy: 'Lower the largest size of the endpoint, or raise COPPICE_AGENT_MEMORY_BYTES.' },
  );
}

const mib = (bytes: number): string => `${Math.round(bytes / 1024 / 1024)} MiB`;

function noRoom(nodes: readonly AgentNode[], bytes: number): CoppiceError {
  const bounds = nodes.map(
    (n) =>
      `${n.id} runs ${n.computes} computes of at most ${n.max_computes ?? 'any number'}` +
      (n.memory_bytes === null ? '' : ` in ${mib(n.used_bytes)} of ${mib(n.memory_bytes)}`),
  );
  return new CoppiceError(
    'Unavailable',
    'no-room-for-compute',
    `no compute agent has room for another compute of ${mib(bytes)}, and none of their computes is idle: ${bounds.slice(0, 3).join('; ')}`,
    {
      remedy:
        'Close transactions or suspend endpoints that are not needed; or raise COPPICE_AGENT_MEMORY_BYTES and COPPICE_AGENT_MAX_COMPUTES, or add a compute agent.',
    },
  );
}

function stopping(): CoppiceError {
  return new CoppiceError('Unavailable', 'shutting-down', 'the control-plane is stopping', {
    remedy: 'Try again shortly.',
  });
}
