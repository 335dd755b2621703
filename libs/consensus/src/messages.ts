/**
 * What a proposer and its acceptors say to each other, on one ordered stream per acceptor.
 *
 *   proposer                                          acceptor
 *   Greeting        who, which timeline          ──►
 *                                                ◄──  GreetingResponse   its term and membership
 *   VoteRequest     a term above all that answered ──►
 *                                                ◄──  VoteResponse       granted? its log: end and term history
 *   Elected         the leader's history, and where ──►
 *                   this acceptor's log continues
 *                                                ◄──  AppendResponse     accepted: its log ends there
 *   Append          bytes, commit position       ──►  …pipelined
 *                                                ◄──  AppendResponse     durable up to here
 *                                                ◄──  Refused            instead of any answer
 *
 * All positions but `Append.begin` and `Append.end` are ends of complete WAL records. WAL bytes are carried, never read.
 */
import type { Lsn, NodeId, Term, TimelineId } from '@coppice/vocabulary';
import type { Membership } from './membership';
import type { TermHistory } from './term-history';

/** One run of one proposer: random, never used again. 32 hexadecimal digits. */
export type ProposerId = string;

/** What all parties must agree on about a timeline. */
export interface TimelineIdentity {
  readonly timeline: TimelineId;
  /** Where the timeline's own WAL begins: a record's end on its ancestor. */
  readonly startLsn: Lsn;
  /** `pg_control.system_identifier`. */
  readonly systemId: bigint;
  /** The major version of PostgreSQL. */
  readonly pgVersion: number;
}

export interface Greeting extends TimelineIdentity {
  readonly kind: 'greeting';
  readonly proposer: ProposerId;
  readonly membership: Membership;
}

export interface VoteRequest {
  readonly kind: 'vote-request';
  readonly generation: number;
  readonly proposer: ProposerId;
  readonly term: Term;
}

export interface Elected {
  readonly kind: 'elected';
  readonly generation: number;
  readonly proposer: ProposerId;
  readonly term: Term;
  /** Where this acceptor's log continues: its point of divergence from the leader's. What lies behind is dropped. */
  readonly continueAt: Lsn;
  /** Ends with (this term, the leader's start LSN). */
  readonly history: TermHistory;
}

export interface Append {
  readonly kind: 'append';
  readonly generation: number;
  readonly term: Term;
  readonly begin: Lsn;
  /** `begin` plus the number of bytes; equal to it when only the commit position is told. */
  readonly end: Lsn;
  readonly commitLsn: Lsn;
  /** No member lacks anything below: the log before it is not needed for recovery. */
  readonly truncateLsn: Lsn;
  readonly bytes: Uint8Array;
}

export type ProposerMessage = Greeting | VoteRequest | Elected | Append;

export interface GreetingResponse {
  readonly kind: 'greeting-response';
  readonly node: NodeId;
  readonly membership: Membership;
  readonly term: Term;
}

export interface VoteResponse {
  readonly kind: 'vote-response';
  readonly generation: number;
  readonly term: Term;
  readonly granted: boolean;
  /** End of the last complete record, durable. */
  readonly recordEnd: Lsn;
  readonly commitLsn: Lsn;
  readonly truncateLsn: Lsn;
  /** Describes the log up to `recordEnd`. */
  readonly history: TermHistory;
}

export interface AppendResponse {
  readonly kind: 'append-response';
  readonly generation: number;
  readonly term: Term;
  /** End of the last complete record, durable. */
  readonly flushLsn: Lsn;
  readonly commitLsn: Lsn;
}

/**
 * Why an acceptor did nothing. `term`: it promised a higher one. `membership`: it knows another generation.
 * `out-of-step`: a late, lost or doubled message; a new handshake mends it. `wrong-timeline`: identities differ.
 * `deleted`: the timeline has a tombstone. `storage`: it cannot write now (a full disk). `broken`: a rule is violated.
 */
export type RefusalReason =
  | 'term'
  | 'membership'
  | 'out-of-step'
  | 'wrong-timeline'
  | 'deleted'
  | 'storage'
  | 'broken';

export interface Refused {
  readonly kind: 'refused';
  readonly generation: number;
  readonly term: Term;
  readonly reason: RefusalReason;
  readonly detail: string;
}

export type AcceptorMessage = GreetingResponse | VoteResponse | AppendResponse | Refused;
