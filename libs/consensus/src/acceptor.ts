/**
 * The acceptor's side: what a safekeeper does with each message. Pure: a step says what to do, in which order, and the
 * state to adopt once all of it is done. When an effect fails, drop the step: state and disk are as after a crash.
 *
 *   1. flush       make everything written durable
 *   2. truncateTo  drop the log behind this position, durably
 *   3. save        persist `state`
 *   4. write       bytes at the end of the log
 *   5. state       adopt
 *   6. reply       send; with `acknowledge` instead: flush (once for many appends), then send what `acknowledge` returns
 *
 * Truncation precedes the new history: the other way round a crash in between would leave old bytes under a new term.
 */
import { formatLsn, maxLsn, minLsn, type Lsn, type NodeId, type Term } from '@coppice/vocabulary';
import { invariant } from './invariant';
import { isMember, type Membership } from './membership';
import type {
  AcceptorMessage,
  Append,
  AppendResponse,
  Elected,
  Greeting,
  ProposerId,
  ProposerMessage,
  RefusalReason,
  Refused,
  TimelineIdentity,
  VoteRequest,
} from './messages';
import {
  emptyHistory,
  historyProblem,
  lastLogTerm,
  pointOfDivergence,
  sameHistory,
  upTo,
  type TermHistory,
} from './term-history';

/** What an acceptor knows of one timeline. All of it is persisted but `leaderCommit`. */
export interface AcceptorState extends TimelineIdentity {
  readonly node: NodeId;
  readonly membership: Membership;
  /** The highest term promised. */
  readonly term: Term;
  /** Who has the vote of `term`. */
  readonly votedFor: ProposerId | undefined;
  /** The history of the last leader accepted; may reach beyond the log. */
  readonly history: TermHistory;
  /** Known to be committed, and here. May be persisted late: a lower value is safe. */
  readonly commitLsn: Lsn;
  /** What the leader said is committed; may be beyond what is here. */
  readonly leaderCommit: Lsn;
  /** No member lacks anything below. */
  readonly truncateLsn: Lsn;
  /** The timeline was deleted: refuse everything, for ever. */
  readonly deleted: boolean;
}

/** Where the log on this disk ends. `recordEnd` is never above `written`; the bytes between are half a record. */
export interface LogEnd {
  readonly written: Lsn;
  readonly recordEnd: Lsn;
}

export interface AcceptorStep {
  readonly flush?: boolean;
  readonly truncateTo?: Lsn;
  readonly save?: boolean;
  readonly write?: { readonly at: Lsn; readonly bytes: Uint8Array };
  readonly state: AcceptorState;
  readonly reply?: AcceptorMessage;
  readonly acknowledge?: boolean;
}

/** The state of a timeline of which this node has heard nothing. Not worth persisting before the first vote. */
export function newAcceptor(node: NodeId, identity: TimelineIdentity, membership: Membership): AcceptorState {
  const { timeline, startLsn, systemId, pgVersion } = identity;
  return {
    timeline,
    startLsn,
    systemId,
    pgVersion,
    node,
    membership,
    term: 0 as Term,
    votedFor: undefined,
    history: emptyHistory(startLsn),
    commitLsn: startLsn,
    leaderCommit: startLsn,
    truncateLsn: startLsn,
    deleted: false,
  };
}

/**
 * Decides on one message. A message that is late, stale or wrong ends in `Refused` and changes nothing. Throws
 * `InvariantViolation` when the message and the log cannot both be true.
 */
export function stepAcceptor(state: AcceptorState, log: LogEnd, message: ProposerMessage): AcceptorStep {
  invariant(
    log.recordEnd <= log.written,
    () => `record end ${formatLsn(log.recordEnd)} is above the log's end ${formatLsn(log.written)}`,
  );
  invariant(
    state.commitLsn <= log.recordEnd,
    () => `commit ${formatLsn(state.commitLsn)} is above the log's end ${formatLsn(log.recordEnd)}`,
  );
  if (state.deleted) return refuse(state, 'deleted', `timeline ${state.timeline} is deleted`);
  if (message.kind === 'greeting') return greet(state, message);
  if (message.generation !== state.membership.generation) {
    return refuse(
      state,
      'membership',
      `membership generation is ${state.membership.generation}, the message has ${message.generation}`,
    );
  }
  switch (message.kind) {
    case 'vote-request':
      return vote(state, log, message);
    case 'elected':
      return acceptLeader(state, log, message);
    case 'append':
      return append(state, log, message);
  }
}

/** Takes up a newer membership, says which term was promised. Promises nothing. */
function greet(state: AcceptorState, message: Greeting): AcceptorStep {
  for (const field of ['timeline', 'startLsn', 'systemId', 'pgVersion'] as const) {
    if (state[field] !== message[field]) {
      return refuse(
        state,
        'wrong-timeline',
        `${field} is ${state[field]} here, ${message[field]} in the greeting`,
      );
    }
  }
  const newer = message.membership.generation > state.membership.generation;
  if (newer && !isMember(message.membership, state.node)) {
    return refuse(
      state,
      'membership',
      `node ${state.node} is not in membership generation ${message.membership.generation}`,
    );
  }
  const next = newer ? { ...state, membership: message.membership } : state;
  return {
    save: newer,
    state: next,
    reply: { kind: 'greeting-response', node: state.node, membership: next.membership, term: state.term },
  };
}

/** One vote per term, persisted before it is told; everything written is flushed, so that what the vote says stays true. */
function vote(state: AcceptorState, log: LogEnd, message: VoteRequest): AcceptorStep {
  const higher = message.term > state.term;
  const granted = higher || (message.term === state.term && state.votedFor === message.proposer);
  const next = higher ? { ...state, term: message.term, votedFor: message.proposer } : state;
  return {
    flush: true,
    save: higher,
    state: next,
    reply: {
      kind: 'vote-response',
      generation: next.membership.generation,
      term: next.term,
      granted,
      recordEnd: log.recordEnd,
      commitLsn: next.commitLsn,
      truncateLsn: next.truncateLsn,
      history: upTo(next.history, log.recordEnd),
    },
  };
}

/** Takes the leader's history and cuts the log at the point of divergence, recomputed here: the leader's may be stale. */
function acceptLeader(state: AcceptorState, log: LogEnd, message: Elected): AcceptorStep {
  if (message.term < state.term) return refuseTerm(state, message.term);
  const problem = historyProblem(message.history, state.startLsn);
  if (problem) return refuse(state, 'broken', problem);
  if (message.history.at(-1)!.term !== message.term)
    return refuse(state, 'broken', `the term history does not end with term ${message.term}`);

  const divergence = pointOfDivergence(message.history, state.history, log.recordEnd);
  if (message.continueAt !== divergence) {
    return refuse(
      state,
      'out-of-step',
      `the logs agree up to ${formatLsn(divergence)}, not ${formatLsn(message.continueAt)}`,
    );
  }
  invariant(
    divergence >= state.commitLsn,
    () =>
      `term ${message.term} would cut at ${formatLsn(divergence)}, below commit ${formatLsn(state.commitLsn)}`,
  );

  const higher = message.term > state.term;
  const next: AcceptorState = {
    ...state,
    term: message.term,
    votedFor: higher ? message.proposer : state.votedFor,
    history: message.history,
    leaderCommit: state.commitLsn,
  };
  return {
    flush: true,
    ...(log.written > divergence && { truncateTo: divergence }),
    save: higher || !sameHistory(state.history, message.history),
    state: next,
    reply: appendResponse(next, divergence),
  };
}

/** Appends are exactly contiguous, and only from the leader whose history this log has taken. */
function append(state: AcceptorState, log: LogEnd, message: Append): AcceptorStep {
  if (message.term < state.term) return refuseTerm(state, message.term);
  if (message.term > state.term || state.history.at(-1)!.term !== message.term) {
    return refuse(state, 'out-of-step', `term ${message.term} was not announced here`);
  }
  if (message.begin !== log.written) {
    return refuse(
      state,
      'out-of-step',
      `the log ends at ${formatLsn(log.written)}, the bytes begin at ${formatLsn(message.begin)}`,
    );
  }
  if (message.end - message.begin !== BigInt(message.bytes.length)) {
    return refuse(
      state,
      'broken',
      `${message.bytes.length} bytes do not reach from ${formatLsn(message.begin)} to ${formatLsn(message.end)}`,
    );
  }
  return {
    ...(message.bytes.length > 0 && { write: { at: message.begin, bytes: message.bytes } }),
    state: {
      ...state,
      leaderCommit: maxLsn(state.leaderCommit, message.commitLsn),
      truncateLsn: maxLsn(state.truncateLsn, message.truncateLsn),
    },
    acknowledge: true,
  };
}

/**
 * After a flush of everything written: the answer to all appends before it, and what is now known to be committed. When
 * another term was promised in between, the answer is a refusal: a flush position may only be told in the term that the
 * log has taken.
 */
export function acknowledge(
  state: AcceptorState,
  log: LogEnd,
): { readonly state: AcceptorState; readonly reply: AppendResponse | Refused } {
  const next = advanceCommit(state, log, state.leaderCommit);
  const announced = next.history.at(-1)!.term === next.term;
  return {
    state: next,
    reply: announced
      ? appendResponse(next, log.recordEnd)
      : refusal(next, 'term', `term ${next.term} is promised`),
  };
}

/**
 * Learns a commit position from another acceptor. Trusted only when both logs end in the same term: then both are
 * prefixes of one leader's log. `log` must be durable.
 */
export function learnCommit(
  state: AcceptorState,
  log: LogEnd,
  peer: { readonly lastLogTerm: Term; readonly commitLsn: Lsn },
): AcceptorState {
  if (state.deleted || lastLogTerm(state.history, log.recordEnd) !== peer.lastLogTerm) return state;
  return advanceCommit(state, log, peer.commitLsn);
}

/** The state after deletion. Persist it in place of the log: it keeps late messages from creating the timeline anew. */
export function tombstone(state: AcceptorState): AcceptorState {
  return { ...state, deleted: true };
}

function advanceCommit(state: AcceptorState, log: LogEnd, committed: Lsn): AcceptorState {
  const commitLsn = maxLsn(state.commitLsn, minLsn(committed, log.recordEnd));
  return commitLsn === state.commitLsn ? state : { ...state, commitLsn };
}

function appendResponse(state: AcceptorState, flushLsn: Lsn): AppendResponse {
  return {
    kind: 'append-response',
    generation: state.membership.generation,
    term: state.term,
    flushLsn,
    commitLsn: state.commitLsn,
  };
}

function refuseTerm(state: AcceptorState, got: Term): AcceptorStep {
  return refuse(state, 'term', `term ${state.term} is promised, the message has term ${got}`);
}

function refuse(state: AcceptorState, reason: RefusalReason, detail: string): AcceptorStep {
  return { state, reply: refusal(state, reason, detail) };
}

/** For refusals that the caller decides: a full disk, a timeline that cannot be read. */
export function refusal(state: AcceptorState, reason: RefusalReason, detail: string): Refused {
  return { kind: 'refused', generation: state.membership.generation, term: state.term, reason, detail };
}
