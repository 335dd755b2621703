/**
 * Watches a simulated cluster and throws `Violation` at the first event that breaks a promise. It looks at what disks
 * would keep, not at what the code believes.
 *
 *   one vote per node and term; terms of a node never fall, over crashes too
 *   one leader per term; a leader's log holds everything committed in earlier terms
 *   a flush position that was told is on the disk, and does not fall within a term; nothing written is unflushed when a
 *   vote is told
 *   a committed position is on the disks of a majority, with one content for all time
 *   an acceptor's commit is at most what is committed, its bytes are the committed ones, and it does not fall
 */
import type { AcceptorMessage, AcceptorState, Proposer } from '@coppice/consensus';
import type { Lsn, NodeId, Term } from '@coppice/vocabulary';
import { offsetOf, positionAt, START } from './model-wal';
import type { SimAcceptor } from './sim-acceptor';

export class Violation extends Error {}

export class Checker {
  readonly #acceptors: readonly SimAcceptor[];
  readonly #leaders = new Map<Term, string>();
  readonly #votes = new Map<string, string>();
  readonly #terms = new Map<NodeId, Term>();
  readonly #flushed = new Map<string, Lsn>();
  readonly #commits = new Map<NodeId, Lsn>();
  /** How much each term committed. */
  readonly #committedIn = new Map<Term, number>();
  #committed = new Uint8Array(0);

  constructor(acceptors: readonly SimAcceptor[]) {
    this.#acceptors = acceptors;
  }

  /** End of what has been committed so far. */
  get committedEnd(): Lsn {
    return positionAt(this.#committed.length);
  }

  saved(acceptor: SimAcceptor, state: AcceptorState): void {
    const before = this.#terms.get(acceptor.node) ?? 0;
    if (state.term < before)
      throw new Violation(`${acceptor.node}: term falls from ${before} to ${state.term}`);
    this.#terms.set(acceptor.node, state.term);
  }

  crashed(acceptor: SimAcceptor): void {
    this.#commits.delete(acceptor.node);
  }

  restarted(acceptor: SimAcceptor): void {
    if (acceptor.host) this.settled(acceptor);
  }

  /** Called as an acceptor hands an answer to the network. */
  told(acceptor: SimAcceptor, to: string, message: AcceptorMessage): void {
    if (message.kind === 'vote-response') {
      if (acceptor.file.dirty) throw new Violation(`${acceptor.node} votes with unflushed bytes`);
      if (!message.granted) return;
      if (acceptor.stored?.term !== message.term)
        throw new Violation(`${acceptor.node} tells a vote that is not persisted`);
      const key = `${acceptor.node} ${message.term}`;
      const earlier = this.#votes.get(key) ?? to;
      if (earlier !== to)
        throw new Violation(`${acceptor.node} votes for ${earlier} and ${to} in term ${message.term}`);
      this.#votes.set(key, to);
    }
    if (message.kind === 'append-response') {
      const length = offsetOf(message.flushLsn);
      if (!sameBytes(acceptor.file.durable, acceptor.file.content, length)) {
        throw new Violation(`${acceptor.node} acknowledges bytes that are not durable`);
      }
      const key = `${acceptor.node} ${message.term}`;
      if (message.flushLsn < (this.#flushed.get(key) ?? START))
        throw new Violation(`${acceptor.node} lost what it acknowledged in term ${message.term}`);
      this.#flushed.set(key, message.flushLsn);
    }
  }

  /** Called whenever an acceptor has worked through a batch. */
  settled(acceptor: SimAcceptor): void {
    const { commitLsn } = acceptor.host!.state;
    const length = offsetOf(commitLsn);
    if (length > this.#committed.length)
      throw new Violation(`${acceptor.node} believes in a commit that nobody made`);
    if (!sameBytes(acceptor.file.durable, this.#committed, length))
      throw new Violation(`${acceptor.node} holds other bytes than the committed`);
    if (commitLsn < (this.#commits.get(acceptor.node) ?? START))
      throw new Violation(`${acceptor.node}: commit falls`);
    this.#commits.set(acceptor.node, commitLsn);
  }

  /** Called after every event of a proposer. */
  proposed(name: string, proposer: Proposer, before: Lsn): void {
    const { phase, term, startLsn, commitLsn } = proposer;
    if (phase === 'recovering' || phase === 'leading') {
      const leader = this.#leaders.get(term);
      if (leader === undefined) {
        const earlier = [...this.#committedIn].map(([by, length]) => (by < term ? length : 0));
        if (offsetOf(startLsn!) < Math.max(0, ...earlier))
          throw new Violation(`${name} leads term ${term} without all that is committed`);
        this.#leaders.set(term, name);
      } else if (leader !== name) throw new Violation(`${leader} and ${name} lead term ${term}`);
    }
    if (commitLsn > before) {
      this.#committedIn.set(term, offsetOf(commitLsn));
      this.#commit(name, offsetOf(commitLsn));
    }
  }

  #commit(name: string, length: number): void {
    const known = Math.min(length, this.#committed.length);
    const holders = this.#acceptors.filter(({ file }) => sameBytes(file.durable, this.#committed, known));
    if (length > this.#committed.length) {
      const majority = this.#acceptors.length / 2;
      const content = holders
        .map(({ file }) => file.durable)
        .find(
          (bytes) => holders.filter(({ file }) => sameBytes(file.durable, bytes, length)).length > majority,
        );
      if (!content) throw new Violation(`${name} commits up to ${length} bytes, no majority holds them`);
      this.#committed = content.slice(0, length);
    }
  }

  /** At the end: everything committed is on the disks of a majority. */
  finished(): void {
    const holders = this.#acceptors.filter(({ file }) =>
      sameBytes(file.durable, this.#committed, this.#committed.length),
    );
    if (holders.length <= this.#acceptors.length / 2) throw new Violation('committed bytes are gone');
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array, length: number): boolean {
  return Buffer.compare(a.subarray(0, length), b.subarray(0, length)) === 0;
}
