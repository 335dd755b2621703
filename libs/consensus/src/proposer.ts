/**
 * The proposer's side: wins a term, completes the log, then appends and counts. One object is one attempt at one term;
 * after `deposed` make a new one with a new id. No IO, no clock: the owner carries messages and bytes.
 *
 *   greeting ──majority greeted──► voting ──majority granted──► recovering ──majority holds startLsn──► leading
 *      └──────────────────────────────┴── a higher term, another membership ──┴────────────────────────────┴──► deposed
 *
 * Order of calls, per safekeeper `node`:
 *
 *   on every new stream   send all of  connected(node)
 *   on every message      send all of  received(node, message)        (drop messages of earlier streams)
 *   when a stream ends                 disconnected(node)
 *   then, after any of these and after ownLog():
 *     phase 'deposed'     stop at once; `deposedBecause` says why
 *     startLsn            known from phase 'recovering' on: where the new term's log begins
 *     phase 'leading'     startLsn is committed: readers of committed WAL can reach it, the database may start
 *     commitLsn           everything below is committed
 *     while (plan = nextAppend(node, …))                              copies and streams, for each streaming node
 *        own   bytes [begin, end) from the owner's log
 *        peer  read them from any of `holders` (uncommitted read in this term)
 *        message = append(node, begin, bytes); send it unless undefined (the stream was re-made meanwhile)
 *     announceCommit(node)     after a pause in appends, and before closing: tells a commit that no append carried
 *   a `reconnect` in the answer: end that stream and make a new one, with back-off
 */
import { formatLsn, maxLsn, minLsn, term, type Lsn, type NodeId, type Term } from '@coppice/vocabulary';
import { invariant } from './invariant';
import type { Membership } from './membership';
import type {
  AcceptorMessage,
  Append,
  AppendResponse,
  GreetingResponse,
  ProposerId,
  ProposerMessage,
  Refused,
  TimelineIdentity,
  VoteResponse,
} from './messages';
import { isQuorum, quorumPosition } from './quorum';
import { historyProblem, lastLogTerm, pointOfDivergence, upTo, type TermHistory } from './term-history';

export type ProposerPhase = 'greeting' | 'voting' | 'recovering' | 'leading' | 'deposed';

export type ProposerOutput =
  | { readonly kind: 'send'; readonly to: NodeId; readonly message: ProposerMessage }
  | { readonly kind: 'reconnect'; readonly to: NodeId; readonly because: string };

/** The next bytes for one acceptor, and who has them. */
export interface AppendPlan {
  readonly begin: Lsn;
  readonly end: Lsn;
  readonly from: { readonly kind: 'own' } | { readonly kind: 'peer'; readonly holders: readonly NodeId[] };
}

export interface AppendLimits {
  /** Most bytes in one append. */
  readonly maxBytes: number;
  /** Most bytes sent and not yet acknowledged by this acceptor. */
  readonly maxInFlight: number;
}

type PeerPhase = 'absent' | 'greeting' | 'greeted' | 'voting' | 'voted' | 'elected' | 'streaming';

interface Peer {
  phase: PeerPhase;
  vote: VoteResponse | undefined;
  /** Durable there, in our term; `undefined` until it has accepted us. Kept over a lost connection. */
  acknowledged: Lsn | undefined;
  /** Where the next append begins. */
  next: Lsn;
  announced: Lsn;
}

export interface ProposerOptions {
  readonly id: ProposerId;
  readonly identity: TimelineIdentity;
  readonly membership: Membership;
}

export class Proposer {
  readonly id: ProposerId;
  readonly identity: TimelineIdentity;
  #membership: Membership;
  #phase: ProposerPhase = 'greeting';
  #term: Term = term(0);
  #highestTerm: Term = term(0);
  #history: TermHistory = [];
  #startLsn: Lsn | undefined;
  #commitLsn: Lsn;
  #own: { from: Lsn; to: Lsn } | undefined;
  #deposedBecause: string | undefined;
  readonly #peers = new Map<NodeId, Peer>();

  constructor({ id, identity, membership }: ProposerOptions) {
    this.id = id;
    this.identity = identity;
    this.#membership = membership;
    this.#commitLsn = identity.startLsn;
  }

  get phase(): ProposerPhase {
    return this.#phase;
  }
  /** The term applied for; 0 before voting. */
  get term(): Term {
    return this.#term;
  }
  get membership(): Membership {
    return this.#membership;
  }
  /** Where this term's log begins: the end of the best log of a majority. `undefined` until elected. */
  get startLsn(): Lsn | undefined {
    return this.#startLsn;
  }
  /** Committed by a quorum, as far as this proposer knows. */
  get commitLsn(): Lsn {
    return this.#commitLsn;
  }
  get history(): TermHistory {
    return this.#history;
  }
  get deposedBecause(): string | undefined {
    return this.#deposedBecause;
  }
  /** No member lacks anything below. */
  get truncateLsn(): Lsn {
    let lowest = this.#lowest(this.#membership.members);
    if (this.#membership.newMembers) lowest = minLsn(lowest, this.#lowest(this.#membership.newMembers));
    return lowest;
  }
  /** What `node` has made durable in this term; `undefined` until it accepted this leader. */
  acknowledged(node: NodeId): Lsn | undefined {
    return this.#peers.get(node)?.acknowledged;
  }
  /** Nodes that take appends now. */
  streaming(): NodeId[] {
    return [...this.#peers].flatMap(([node, peer]) => (peer.phase === 'streaming' ? [node] : []));
  }

  connected(node: NodeId): ProposerOutput[] {
    if (this.#phase === 'deposed') return [];
    this.#peer(node).phase = 'greeting';
    return [
      send(node, { kind: 'greeting', ...this.identity, proposer: this.id, membership: this.#membership }),
    ];
  }

  disconnected(node: NodeId): void {
    const peer = this.#peer(node);
    peer.phase = 'absent';
    peer.vote = undefined;
  }

  received(node: NodeId, message: AcceptorMessage): ProposerOutput[] {
    if (this.#phase === 'deposed') return [];
    const peer = this.#peer(node);
    switch (message.kind) {
      case 'greeting-response':
        return this.#greeted(node, peer, message);
      case 'vote-response':
        return this.#voted(node, peer, message);
      case 'append-response':
        return this.#acknowledged(peer, message);
      case 'refused':
        return this.#refused(node, peer, message);
    }
  }

  /** Tells which bytes the owner can supply itself, [from, to): `from` may rise up to `commitLsn`, `to` only grows. */
  ownLog({ from, to }: { from: Lsn; to: Lsn }): void {
    const start = this.#startLsn;
    invariant(
      start !== undefined && from >= start,
      () =>
        `own log begins at ${formatLsn(from)}, the term at ${start === undefined ? 'no position' : formatLsn(start)}`,
    );
    invariant(
      from === start || from <= this.#commitLsn,
      () => `own log was dropped up to ${formatLsn(from)}, above commit ${formatLsn(this.#commitLsn)}`,
    );
    invariant(to >= from && to >= (this.#own?.to ?? from), () => `own log shrinks to ${formatLsn(to)}`);
    this.#own = { from, to };
  }

  /** What to send to `node` next; `undefined` when there is nothing, no room, nobody who has it, or no stream. */
  nextAppend(node: NodeId, { maxBytes, maxInFlight }: AppendLimits): AppendPlan | undefined {
    const peer = this.#peers.get(node);
    if (peer?.phase !== 'streaming' || this.#phase === 'deposed') return undefined;
    const begin = peer.next;
    const room = BigInt(maxInFlight) - (begin - (peer.acknowledged ?? begin));
    if (room <= 0n) return undefined;
    const most = (begin + (room < BigInt(maxBytes) ? room : BigInt(maxBytes))) as Lsn;
    if (this.#own && begin >= this.#own.from) {
      return begin < this.#own.to
        ? { begin, end: minLsn(most, this.#own.to), from: { kind: 'own' } }
        : undefined;
    }
    const holders = this.#holders(node, begin);
    if (holders.length === 0) return undefined;
    const end = minLsn(most, holders[0]!.end);
    return {
      begin,
      end,
      from: { kind: 'peer', holders: holders.filter((h) => h.end >= end).map((h) => h.node) },
    };
  }

  /** Makes the message for planned bytes. `undefined` when the stream was re-made since: plan again. */
  append(node: NodeId, begin: Lsn, bytes: Uint8Array): Append | undefined {
    const peer = this.#peers.get(node);
    if (peer?.phase !== 'streaming' || peer.next !== begin || this.#phase === 'deposed') return undefined;
    peer.next = (begin + BigInt(bytes.length)) as Lsn;
    peer.announced = this.#commitLsn;
    return {
      kind: 'append',
      generation: this.#membership.generation,
      term: this.#term,
      begin,
      end: peer.next,
      commitLsn: this.#commitLsn,
      truncateLsn: this.truncateLsn,
      bytes,
    };
  }

  /** An empty append that tells the commit position; `undefined` when `node` has been told. */
  announceCommit(node: NodeId): Append | undefined {
    const peer = this.#peers.get(node);
    if (peer?.phase !== 'streaming' || peer.announced >= this.#commitLsn) return undefined;
    return this.append(node, peer.next, new Uint8Array(0));
  }

  #lowest(nodes: readonly NodeId[]): Lsn {
    let lowest: Lsn | undefined;
    for (const node of nodes) {
      const position = this.#peers.get(node)?.acknowledged ?? this.identity.startLsn;
      if (lowest === undefined || position < lowest) lowest = position;
    }
    return lowest ?? this.identity.startLsn;
  }

  #peer(node: NodeId): Peer {
    let peer = this.#peers.get(node);
    if (!peer) {
      peer = {
        phase: 'absent',
        vote: undefined,
        acknowledged: undefined,
        next: this.identity.startLsn,
        announced: this.identity.startLsn,
      };
      this.#peers.set(node, peer);
    }
    return peer;
  }

  #greeted(node: NodeId, peer: Peer, message: GreetingResponse): ProposerOutput[] {
    if (peer.phase !== 'greeting') return [];
    if (message.node !== node) return this.#reconnect(peer, node, `it says it is ${message.node}`);
    if (message.membership.generation > this.#membership.generation) {
      if (this.#phase !== 'greeting')
        return this.#depose(`membership generation ${message.membership.generation} is in force at ${node}`);
      this.#membership = message.membership;
    }
    peer.phase = 'greeted';
    if (this.#phase === 'greeting') {
      this.#highestTerm = term(Math.max(this.#highestTerm, message.term));
      if (!isQuorum(this.#membership, this.#in('greeted'))) return [];
      this.#phase = 'voting';
      this.#term = term(this.#highestTerm + 1);
    } else if (message.term > this.#term) {
      return this.#depose(`${node} has promised term ${message.term}`);
    }
    return [...this.#in('greeted')].map((waiting) => {
      this.#peer(waiting).phase = 'voting';
      return send(waiting, {
        kind: 'vote-request',
        generation: this.#membership.generation,
        proposer: this.id,
        term: this.#term,
      });
    });
  }

  #voted(node: NodeId, peer: Peer, message: VoteResponse): ProposerOutput[] {
    if (peer.phase !== 'voting') return [];
    if (message.term > this.#term) return this.#depose(`${node} has promised term ${message.term}`);
    if (message.term < this.#term) return this.#reconnect(peer, node, `it answers in term ${message.term}`);
    if (!message.granted && this.#phase === 'voting')
      return this.#depose(`${node} gave its vote for term ${this.#term} to another`);
    const problem = historyProblem(message.history, this.identity.startLsn);
    if (problem) return this.#reconnect(peer, node, problem);
    peer.vote = message;
    peer.phase = 'voted';
    if (this.#phase === 'voting') {
      if (!isQuorum(this.#membership, this.#in('voted'))) return [];
      this.#lead();
    }
    return [...this.#in('voted')].map((voter) => this.#elect(voter));
  }

  /** The best log among the voters, by (last term, end), is the log that this term continues. */
  #lead(): void {
    const votes = [...this.#in('voted')].map((node) => this.#peer(node).vote!);
    const best = votes.reduce((a, b) => {
      const [ta, tb] = [lastLogTerm(a.history, a.recordEnd), lastLogTerm(b.history, b.recordEnd)];
      return tb > ta || (tb === ta && b.recordEnd > a.recordEnd) ? b : a;
    });
    invariant(
      lastLogTerm(best.history, best.recordEnd) < this.#term,
      () => `a log already holds term ${this.#term}`,
    );
    this.#startLsn = best.recordEnd;
    this.#history = [...upTo(best.history, best.recordEnd), { term: this.#term, lsn: best.recordEnd }];
    this.#commitLsn = votes.map((vote) => vote.commitLsn).reduce(maxLsn, this.#commitLsn);
    invariant(
      this.#commitLsn <= best.recordEnd,
      () => `elected at ${formatLsn(best.recordEnd)}, below commit ${formatLsn(this.#commitLsn)}`,
    );
    this.#phase = 'recovering';
  }

  #elect(node: NodeId): ProposerOutput {
    const peer = this.#peer(node);
    const { history, recordEnd } = peer.vote!;
    peer.phase = 'elected';
    peer.next = pointOfDivergence(this.#history, history, recordEnd);
    peer.announced = this.identity.startLsn;
    return send(node, {
      kind: 'elected',
      generation: this.#membership.generation,
      proposer: this.id,
      term: this.#term,
      continueAt: peer.next,
      history: this.#history,
    });
  }

  #acknowledged(peer: Peer, message: AppendResponse): ProposerOutput[] {
    if (message.term !== this.#term || (peer.phase !== 'elected' && peer.phase !== 'streaming')) return [];
    if (peer.phase === 'elected') peer.acknowledged = message.flushLsn;
    else peer.acknowledged = maxLsn(peer.acknowledged ?? message.flushLsn, message.flushLsn);
    peer.phase = 'streaming';
    this.#countCommit();
    return [];
  }

  /** A position counts only at or above the start LSN: below, a majority may still hold bytes that an election undoes. */
  #countCommit(): void {
    const reached = quorumPosition(this.#membership, (node) => this.#peers.get(node)?.acknowledged);
    if (reached === undefined || reached < this.#startLsn!) return;
    this.#commitLsn = maxLsn(this.#commitLsn, reached);
    this.#phase = 'leading';
  }

  #refused(node: NodeId, peer: Peer, message: Refused): ProposerOutput[] {
    if (peer.phase === 'absent') return [];
    if (message.reason === 'term' && message.term > this.#term && this.#phase !== 'greeting') {
      return this.#depose(`${node} has promised term ${message.term}`);
    }
    if (
      message.reason === 'membership' &&
      message.generation > this.#membership.generation &&
      this.#phase !== 'greeting'
    ) {
      return this.#depose(`membership generation ${message.generation} is in force at ${node}`);
    }
    if (message.reason === 'deleted') return this.#depose(message.detail);
    return this.#reconnect(peer, node, `${message.reason}: ${message.detail}`);
  }

  /** Who has bytes from `begin` on: acceptors whose log is cut to ours, up to what they acknowledged. Most first. */
  #holders(except: NodeId, begin: Lsn): { node: NodeId; end: Lsn }[] {
    return [...this.#peers]
      .flatMap(([node, { phase, acknowledged: end }]) => {
        if (node === except || phase !== 'streaming' || end === undefined || end <= begin) return [];
        return [{ node, end }];
      })
      .sort((a, b) => (a.end < b.end ? 1 : a.end > b.end ? -1 : 0));
  }

  #in(phase: PeerPhase): Set<NodeId> {
    return new Set([...this.#peers].flatMap(([node, peer]) => (peer.phase === phase ? [node] : [])));
  }

  #reconnect(peer: Peer, node: NodeId, because: string): ProposerOutput[] {
    peer.phase = 'absent';
    return [{ kind: 'reconnect', to: node, because }];
  }

  #depose(because: string): ProposerOutput[] {
    this.#phase = 'deposed';
    this.#deposedBecause = because;
    return [];
  }
}

function send(to: NodeId, message: ProposerMessage): ProposerOutput {
  return { kind: 'send', to, message };
}
