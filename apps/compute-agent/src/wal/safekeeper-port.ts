import type { AcceptorMessage, ProposerMessage } from '@coppice/consensus';
import type { MessageStream } from '@coppice/contracts';
import type { Lsn, NodeId, Term } from '@coppice/vocabulary';

/** A read of WAL that may not be committed yet, allowed to the proposer of `term` only. */
export interface UncommittedRead {
  readonly from: Lsn;
  readonly until: Lsn;
  readonly term: Term;
  readonly signal: AbortSignal;
}

/** One safekeeper, for one timeline, as the walproposer sees it. */
export interface SafekeeperPort {
  readonly node: NodeId;
  /** Opens a new stream; a broken one shows in its `closed`. */
  open(): MessageStream<ProposerMessage, AcceptorMessage>;
  /** The bytes [from, until) in order. */
  read(request: UncommittedRead): AsyncIterable<Buffer>;
}
