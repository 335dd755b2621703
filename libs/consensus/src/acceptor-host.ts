/**
 * Performs the acceptor's steps on a log, in the order that acceptor.ts states, for messages that arrive in batches: all
 * appends of a batch share one flush, and their answers wait for it. Synchronous: while a flush blocks, the next batch
 * gathers in the sockets, so the group grows with the load by itself. One message leaves unasked: a leader hears at once
 * that a higher term was promised.
 */
import {
  acknowledge,
  learnCommit,
  refusal,
  stepAcceptor,
  tombstone,
  type AcceptorState,
  type LogEnd,
} from './acceptor';
import { invariant, InvariantViolation } from './invariant';
import type { AcceptorMessage, ProposerMessage, RefusalReason } from './messages';
import { upTo, type TermHistory } from './term-history';
import type { Lsn, Term } from '@coppice/vocabulary';

/**
 * The disk under one timeline. Every call returns when its effect is done; a call that throws `StorageFailure` has left
 * the log readable up to `end()`, and what else it throws ends the host.
 */
export interface AcceptorStorage {
  end(): LogEnd;
  /** Appends at `end().written`; may stay in memory until `flush`. */
  write(at: Lsn, bytes: Uint8Array): void;
  /** Makes everything written durable. Free when it is. */
  flush(): void;
  /** Drops everything behind `to`, durably: it does not come back after a crash. */
  truncate(to: Lsn): void;
  /** Replaces the stored state, durably. */
  save(state: AcceptorState): void;
}

/** The disk cannot take this now: full, or over a limit. Nothing that was asked is lost if it is refused. */
export class StorageFailure extends Error {
  override readonly name = 'StorageFailure';
}

/** A message and where its answer goes. */
export interface Incoming {
  readonly message: ProposerMessage;
  readonly answer: (message: AcceptorMessage) => void;
}

export class AcceptorHost {
  #state: AcceptorState;
  #saved: AcceptorState;
  readonly #storage: AcceptorStorage;
  #owed = new Set<(message: AcceptorMessage) => void>();
  /** The leader whose log this is, and how to reach it. */
  #leader: { readonly term: Term; readonly answer: (message: AcceptorMessage) => void } | undefined;

  /** `stored`: the state as persisted; for a timeline that is new here, as made by `newAcceptor`. */
  constructor(stored: AcceptorState, storage: AcceptorStorage) {
    this.#state = stored;
    this.#saved = stored;
    this.#storage = storage;
  }

  get state(): AcceptorState {
    return this.#state;
  }
  /** Where the log ends; durable whenever no batch is being worked on. */
  get end(): LogEnd {
    return this.#storage.end();
  }
  /** The history of what is in the log. */
  get history(): TermHistory {
    return upTo(this.#state.history, this.end.recordEnd);
  }
  /** Whether the commit position moved since it was last persisted. */
  get commitUnsaved(): boolean {
    return this.#state.commitLsn !== this.#saved.commitLsn;
  }

  /** Works through a batch. Answers leave in the order of the messages of each stream. */
  receive(batch: readonly Incoming[]): void {
    for (const { message, answer } of batch) {
      try {
        this.#step(message, answer);
      } catch (error) {
        answer(refusal(this.#state, reasonOf(error), (error as Error).message));
      }
    }
    this.#settle();
  }

  /** Persists the commit position, if it moved. */
  saveCommit(): void {
    if (this.commitUnsaved) this.#save(this.#state);
  }

  /** Learns a commit position from another acceptor; see `learnCommit`. */
  learn(peer: { readonly lastLogTerm: Term; readonly commitLsn: Lsn }): void {
    this.#state = learnCommit(this.#state, this.end, peer);
  }

  /** Leaves a tombstone, durably. The log may be removed afterwards. */
  delete(): void {
    this.#save(tombstone(this.#state));
  }

  #step(message: ProposerMessage, answer: (message: AcceptorMessage) => void): void {
    if (message.kind !== 'append') this.#settle();
    const { term } = this.#state;
    const step = stepAcceptor(this.#state, this.#storage.end(), message);
    if (step.flush) this.#storage.flush();
    if (step.truncateTo !== undefined) this.#storage.truncate(step.truncateTo);
    if (step.save) this.#save(step.state);
    if (step.write) this.#storage.write(step.write.at, step.write.bytes);
    this.#state = step.state;
    invariant(this.#state.term >= term, () => `the term fell from ${term} to ${this.#state.term}`);
    if (step.acknowledge) this.#owed.add(answer);
    if (step.reply) answer(step.reply);
    if (message.kind === 'elected' && step.reply?.kind === 'append-response')
      this.#leader = { term: message.term, answer };
    this.#tellDeposed();
  }

  /** A leader that has nothing to write would not ask, and its database would go on answering queries. */
  #tellDeposed(): void {
    const leader = this.#leader;
    if (leader === undefined || leader.term >= this.#state.term) return;
    this.#leader = undefined;
    leader.answer(refusal(this.#state, 'term', `term ${this.#state.term} is promised`));
  }

  /** One flush for all appends so far, then their answers. */
  #settle(): void {
    if (this.#owed.size === 0) return;
    const owed = this.#owed;
    this.#owed = new Set();
    let reply: AcceptorMessage;
    try {
      this.#storage.flush();
      const before = this.#state.commitLsn;
      const done = acknowledge(this.#state, this.#storage.end());
      invariant(done.state.commitLsn >= before, () => 'the commit position fell');
      this.#state = done.state;
      reply = done.reply;
    } catch (error) {
      reply = refusal(this.#state, reasonOf(error), (error as Error).message);
    }
    for (const answer of owed) answer(reply);
  }

  #save(state: AcceptorState): void {
    this.#storage.save(state);
    this.#state = state;
    this.#saved = state;
  }
}

function reasonOf(error: unknown): RefusalReason {
  if (error instanceof StorageFailure) return 'storage';
  if (error instanceof InvariantViolation) return 'broken';
  throw error;
}
