/**
 * The effects around `Proposer` (libs/consensus): carries the WAL of one compute to its safekeepers.
 *
 *   elect()  ──► leading at S ──► append(start, bytes) …  ──► onCommit(position) …  ──► finish()
 *                                        └── a higher term anywhere ──► deposed: the compute must die at once
 *
 * Each safekeeper has one long-lived stream; appends are pipelined up to `maxInFlightBytes`. A safekeeper that is down
 * or slow holds nobody up while a majority is there: it is served from the window of newest WAL when it is close, from
 * its peers when it is further behind.
 */
import { type Append, type AppendPlan, type Membership, Proposer, type ProposerOutput, type TimelineIdentity } from '@coppice/consensus';
import { after, type Clock, CoppiceError, type Log } from '@coppice/service-kit';
import { formatLsn, type Lsn, minLsn, type NodeId, type Term } from '@coppice/vocabulary';
import { SafekeeperLink } from './safekeeper-link';
import type { SafekeeperPort } from './safekeeper-port';
import { WalWindow } from './wal-window';

export interface WalproposerLimits {
  readonly maxAppendBytes: number;
  /** Sent to one safekeeper and not acknowledged by it. */
  readonly maxInFlightBytes: number;
  /**
   * Appends to one safekeeper that may be unanswered while less than `coalesceBytes` wait: what commits meanwhile goes
   * with the next one. A message costs more than a kilobyte of WAL does.
   */
  readonly maxUnanswered: number;
  readonly coalesceBytes: number;
  /** Committed WAL that is kept for safekeepers that are behind; they get older bytes from their peers. */
  readonly keepBytes: number;
  /** Uncommitted WAL at which PostgreSQL is no longer read from. */
  readonly maxUncommittedBytes: number;
}

export const DEFAULT_LIMITS: WalproposerLimits = {
  maxAppendBytes: 256 * 1024,
  maxInFlightBytes: 4 * 1024 * 1024,
  maxUnanswered: 1,
  coalesceBytes: 64 * 1024,
  keepBytes: 8 * 1024 * 1024,
  maxUncommittedBytes: 16 * 1024 * 1024,
};

/** A commit position that no append carried is told after this pause. */
const ANNOUNCE_AFTER_MS = 10;
const CLOSE_DEADLINE_MS = 1_000;

export interface WalproposerOptions {
  readonly proposerId: string;
  readonly identity: TimelineIdentity;
  readonly membership: Membership;
  readonly safekeepers: readonly SafekeeperPort[];
  readonly limits?: WalproposerLimits;
  readonly clock: Clock;
  readonly log: Log;
  /** The committed position has moved. */
  readonly onCommit: (position: Lsn) => void;
  /** Whether uncommitted WAL piles up: stop and go on reading from PostgreSQL. */
  readonly onPressure: (stopReading: boolean) => void;
}

export interface Leadership {
  readonly term: Term;
  /** S: where the log continues; committed. */
  readonly startLsn: Lsn;
}

export class Walproposer {
  readonly #options: WalproposerOptions;
  readonly #limits: WalproposerLimits;
  readonly #proposer: Proposer;
  readonly #links = new Map<NodeId, SafekeeperLink>();
  readonly #ports = new Map<NodeId, SafekeeperPort>();
  readonly #copying = new Set<NodeId>();
  /** Appends sent on the present stream that have no answer yet. */
  readonly #unanswered = new Map<NodeId, number>();
  readonly #stop = new AbortController();
  #window: WalWindow | undefined;
  #commit: Lsn;
  #finishing = false;
  #pressure = false;
  #announcing = false;
  #lead!: (leadership: Leadership) => void;
  #depose!: (error: CoppiceError) => void;
  readonly #leading: Promise<Leadership>;
  /** Rejects when the term is lost, or could not be won. */
  readonly deposed: Promise<never>;

  constructor(options: WalproposerOptions) {
    this.#options = options;
    this.#limits = options.limits ?? DEFAULT_LIMITS;
    this.#proposer = new Proposer({ id: options.proposerId, identity: options.identity, membership: options.membership });
    this.#commit = options.identity.startLsn;
    this.#leading = new Promise((resolve) => (this.#lead = resolve));
    this.deposed = new Promise((_, reject) => (this.#depose = reject));
    this.deposed.catch(() => undefined);
    for (const safekeeper of options.safekeepers) {
      this.#ports.set(safekeeper.node, safekeeper);
      this.#links.set(safekeeper.node, this.#link(safekeeper));
    }
  }

  /** Committed by a quorum. */
  get commitLsn(): Lsn {
    return this.#commit;
  }
  get term(): Term {
    return this.#proposer.term;
  }

  /** Wins a term and completes the log. Rejects with `Fenced` when another proposer holds a higher term. */
  async elect(signal: AbortSignal): Promise<Leadership> {
    for (const link of this.#links.values()) link.start();
    let onAbort!: () => void;
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => reject(new CoppiceError('Unavailable', 'no-quorum', this.#noQuorumText(), { cause: signal.reason, remedy: 'See that a majority of the safekeepers runs.' }));
      signal.addEventListener('abort', onAbort, { once: true });
    });
    try {
      return await Promise.race([this.#leading, this.deposed, aborted]);
    } catch (error) {
      this.abort();
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Takes the next WAL from PostgreSQL, contiguous from S. */
  append(start: Lsn, bytes: Buffer): void {
    const window = this.#window;
    if (!window) throw new CoppiceError('Internal', 'not-leading', 'WAL came before the election was won');
    if (this.#stop.signal.aborted) return;
    this.#guarded(() => {
      window.push(start, bytes);
      this.#proposer.ownLog({ from: window.from, to: window.to });
      this.#pumpAll();
      this.#weighPressure();
    });
  }

  /** Tells everybody the last commit and closes the streams in good order. What the quorum answers after that commits nothing. */
  async finish(): Promise<void> {
    this.#finishing = true;
    this.#announce(this.#links.values());
    const closing = Promise.all([...this.#links.values()].map((link) => link.close()));
    await Promise.race([closing, this.#options.clock.sleep(CLOSE_DEADLINE_MS, this.#stop.signal)]).catch(() => undefined);
    this.abort();
  }

  /** Drops all streams now. */
  abort(): void {
    this.#stop.abort();
    for (const link of this.#links.values()) link.abort();
  }

  #link(safekeeper: SafekeeperPort): SafekeeperLink {
    const { clock, log } = this.#options;
    return new SafekeeperLink({
      safekeeper,
      clock,
      log,
      events: {
        onConnected: (node) => this.#guarded(() => this.#act(this.#proposer.connected(node))),
        onMessage: (node, message) =>
          this.#guarded(() => {
            this.#unanswered.set(node, Math.max(0, (this.#unanswered.get(node) ?? 0) - 1));
            this.#act(this.#proposer.received(node, message));
          }),
        onDisconnected: (node) => {
          this.#unanswered.delete(node);
          this.#proposer.disconnected(node);
        },
        onRoom: (node) => this.#guarded(() => this.#pump(node)),
      },
    });
  }

  /** A broken rule ends this compute, not the agent. */
  #guarded(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#depose(new CoppiceError('Internal', 'proposer-broken', error instanceof Error ? error.message : String(error), { cause: error }));
      this.abort();
    }
  }

  #act(outputs: readonly ProposerOutput[]): void {
    for (const output of outputs) {
      const link = this.#links.get(output.to);
      if (output.kind === 'send') link?.send(output.message);
      else {
        this.#options.log.warn({ safekeeper: output.to, because: output.because }, 'safekeeper stream is made anew');
        link?.reconnect(output.because);
      }
    }
    this.#afterStep();
  }

  #afterStep(): void {
    const proposer = this.#proposer;
    if (proposer.phase === 'deposed') {
      this.#depose(new CoppiceError('Fenced', 'deposed', `term ${proposer.term} is lost: ${proposer.deposedBecause}`));
      this.abort();
      return;
    }
    if (proposer.phase === 'leading' && !this.#window) this.#begin(proposer.startLsn!);
    this.#pumpAll();
    if (proposer.phase === 'leading' && proposer.commitLsn > this.#commit && !this.#finishing) this.#committed(proposer.commitLsn);
  }

  #begin(startLsn: Lsn): void {
    this.#window = new WalWindow(startLsn);
    this.#proposer.ownLog({ from: startLsn, to: startLsn });
    this.#lead({ term: this.#proposer.term, startLsn });
  }

  #committed(position: Lsn): void {
    this.#commit = position;
    const window = this.#window!;
    const keepFrom = (position > BigInt(this.#limits.keepBytes) ? position - BigInt(this.#limits.keepBytes) : 0n) as Lsn;
    window.dropBelow(minLsn(keepFrom < this.#proposer.truncateLsn ? this.#proposer.truncateLsn : keepFrom, position));
    this.#proposer.ownLog({ from: window.from, to: window.to });
    this.#weighPressure();
    this.#options.onCommit(position);
    this.#announceSoon();
  }

  /** An append on its way will carry the position; only a safekeeper that none goes to is told apart. */
  #announceSoon(): void {
    if (this.#announcing || this.#stop.signal.aborted) return;
    this.#announcing = true;
    after(ANNOUNCE_AFTER_MS, () => {
      this.#announcing = false;
      if (this.#stop.signal.aborted) return;
      const links = [...this.#links.values()];
      const idle = links.filter(({ node }) => !this.#unanswered.get(node));
      this.#guarded(() => this.#announce(idle));
      if (idle.length < links.length) this.#announceSoon();
    });
  }

  #announce(links: Iterable<SafekeeperLink>): void {
    for (const link of links) {
      const message = this.#proposer.announceCommit(link.node);
      if (message) this.#sendAppend(link, message);
    }
  }

  #weighPressure(): void {
    const uncommitted = Number(this.#window!.to - this.#commit);
    const stopReading = uncommitted > this.#limits.maxUncommittedBytes / (this.#pressure ? 2 : 1);
    if (stopReading === this.#pressure) return;
    this.#pressure = stopReading;
    this.#options.onPressure(stopReading);
  }

  #pumpAll(): void {
    for (const node of this.#links.keys()) this.#pump(node);
  }

  #pump(node: NodeId): void {
    const link = this.#links.get(node)!;
    while (link.hasRoom && !this.#copying.has(node)) {
      const plan = this.#proposer.nextAppend(node, { maxBytes: this.#limits.maxAppendBytes, maxInFlight: this.#limits.maxInFlightBytes });
      if (!plan) return;
      if (plan.from.kind === 'peer') {
        void this.#copy(node, plan, plan.from.holders);
        return;
      }
      const waiting = Number(plan.end - plan.begin);
      if (waiting < this.#limits.coalesceBytes && (this.#unanswered.get(node) ?? 0) >= this.#limits.maxUnanswered) return;
      this.#send(node, plan.begin, this.#window!.slice(plan.begin, plan.end));
    }
  }

  #send(node: NodeId, begin: Lsn, bytes: Buffer): boolean {
    const message = this.#proposer.append(node, begin, bytes);
    if (message) this.#sendAppend(this.#links.get(node)!, message);
    return message !== undefined;
  }

  #sendAppend(link: SafekeeperLink, message: Append): void {
    this.#unanswered.set(link.node, (this.#unanswered.get(link.node) ?? 0) + 1);
    link.send(message);
  }

  /** Brings bytes that only peers have to `node`: reads them from the first holder that answers. */
  async #copy(node: NodeId, plan: AppendPlan, holders: readonly NodeId[]): Promise<void> {
    this.#copying.add(node);
    try {
      let at = plan.begin;
      for (const holder of holders) {
        try {
          const request = { from: at, until: plan.end, term: this.#proposer.term, signal: this.#stop.signal };
          for await (const bytes of this.#ports.get(holder)!.read(request)) {
            if (!this.#send(node, at, bytes)) return;
            at = (at + BigInt(bytes.length)) as Lsn;
          }
          if (at >= plan.end) return;
        } catch (error) {
          if (this.#stop.signal.aborted) return;
          this.#options.log.warn({ err: error, safekeeper: holder, at: formatLsn(at) }, 'a peer does not give WAL for recovery');
        }
      }
      await this.#options.clock.sleep(100, this.#stop.signal).catch(() => undefined);
    } finally {
      this.#copying.delete(node);
      if (!this.#stop.signal.aborted) setImmediate(() => this.#guarded(() => this.#pump(node)));
    }
  }

  #noQuorumText(): string {
    const there = [...this.#links.values()].filter((link) => link.hasRoom).map((link) => link.node);
    return `no leadership of timeline ${this.#options.identity.timeline} yet (${this.#proposer.phase}; reached: ${there.join(', ') || 'none'})`;
  }
}
