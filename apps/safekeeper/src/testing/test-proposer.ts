import { randomBytes } from 'node:crypto';
import {
  Proposer,
  type Membership,
  type ProposerMessage,
  type ProposerOutput,
  type TimelineIdentity,
} from '@coppice/consensus';
import {
  acceptorFromWire,
  proposerToWire,
  type AcceptorWireMessage,
  type MessageStream,
  type ProposerWireMessage,
} from '@coppice/contracts';
import { after, SequenceWait, systemClock } from '@coppice/service-kit';
import { testIdentities } from '@coppice/testing';
import type { Lsn, NodeId } from '@coppice/vocabulary';
import type { SafekeeperProcess } from './safekeeper-process';

const LIMITS = { maxBytes: 128 * 1024, maxInFlight: 4 * 1024 * 1024 };
type Stream = MessageStream<ProposerWireMessage, AcceptorWireMessage>;

/** The smallest proposer that carries real bytes to real safekeepers: keeps its whole log, makes lost streams anew. */
export class TestProposer {
  readonly proposer: Proposer;
  readonly #safekeepers: readonly SafekeeperProcess[];
  readonly #token: string;
  readonly #streams = new Map<NodeId, Stream>();
  readonly #commit = new SequenceWait<bigint>(0n);
  readonly #events: (() => void)[] = [];
  readonly #copying = new Set<NodeId>();
  #parts: { readonly at: Lsn; readonly bytes: Buffer }[] = [];
  #end: Lsn | undefined;
  #closed = false;

  constructor(identity: TimelineIdentity, membership: Membership, safekeepers: readonly SafekeeperProcess[]) {
    this.proposer = new Proposer({ id: randomBytes(16).toString('hex'), identity, membership });
    this.#safekeepers = safekeepers;
    this.#token = testIdentities.token('compute', { timeline: identity.timeline });
  }

  /** Leads, with the start position committed. Rejects when deposed. */
  async elect(): Promise<Lsn> {
    for (const safekeeper of this.#safekeepers) this.#connect(safekeeper);
    await this.until(() => this.proposer.phase === 'leading' || this.proposer.phase === 'deposed');
    if (this.proposer.phase === 'deposed') throw new Error(`deposed: ${this.proposer.deposedBecause}`);
    return this.proposer.startLsn!;
  }

  /** The end of what was appended. */
  get end(): Lsn {
    return this.#end ?? this.proposer.startLsn!;
  }

  append(bytes: Buffer): Lsn {
    const from = this.proposer.startLsn!;
    this.#parts.push({ at: this.end, bytes });
    this.#end = (this.end + BigInt(bytes.length)) as Lsn;
    this.proposer.ownLog({ from, to: this.#end });
    this.#pumpAll();
    return this.#end;
  }

  async committed(lsn: Lsn): Promise<void> {
    await this.#commit.waitFor(lsn, AbortSignal.timeout(20_000));
  }

  /** Waits until `condition` holds, looking after every event. */
  async until(condition: () => boolean): Promise<void> {
    const deadline = AbortSignal.timeout(20_000);
    while (!condition()) {
      deadline.throwIfAborted();
      await new Promise<void>((resolve) => {
        this.#events.push(resolve);
        after(200, resolve);
      });
    }
  }

  /** Tells everybody the commit position. */
  announce(): void {
    for (const [node, stream] of this.#streams) {
      const message = this.proposer.announceCommit(node);
      if (message) stream.send(proposerToWire(message));
    }
  }

  /** Tells everybody the commit and ends the streams in good order. */
  async finish(): Promise<void> {
    this.announce();
    this.#closed = true;
    const streams = [...this.#streams.values()];
    for (const stream of streams) stream.end();
    await Promise.allSettled(streams.map((stream) => stream.closed));
  }

  abort(): void {
    this.#closed = true;
    for (const stream of this.#streams.values()) stream.cancel();
  }

  #connect(safekeeper: SafekeeperProcess): void {
    if (this.#closed) return;
    const { node } = safekeeper;
    const stream = safekeeper.client.as(this.#token).propose();
    this.#streams.set(node, stream);
    stream.onMessage((wire) => {
      if (this.#streams.get(node) !== stream) return;
      this.#perform(this.proposer.received(node, acceptorFromWire(wire).message));
    });
    const again = (): void => {
      if (this.#streams.get(node) !== stream) return;
      this.#streams.delete(node);
      this.proposer.disconnected(node);
      after(50, () => this.#connect(safekeeper));
    };
    stream.closed.then(again, again);
    this.#perform(this.proposer.connected(node));
  }

  #perform(outputs: readonly ProposerOutput[]): void {
    for (const output of outputs) {
      if (output.kind === 'send') this.#send(output.to, output.message);
      else this.#streams.get(output.to)?.cancel();
    }
    if (this.proposer.phase === 'leading' && this.#end === undefined) this.append(Buffer.alloc(0));
    this.#pumpAll();
    this.#commit.advance(this.proposer.commitLsn);
    for (const resolve of this.#events.splice(0)) resolve();
  }

  #send(node: NodeId, message: ProposerMessage): void {
    this.#streams.get(node)?.send(proposerToWire(message));
  }

  #pumpAll(): void {
    for (const { node } of this.#safekeepers) this.#pump(node);
  }

  #pump(node: NodeId): void {
    for (
      let plan = this.proposer.nextAppend(node, LIMITS);
      plan && !this.#copying.has(node);
      plan = this.proposer.nextAppend(node, LIMITS)
    ) {
      if (plan.from.kind === 'peer')
        return void this.#copy(node, plan.begin, plan.end, plan.from.holders[0]!);
      const message = this.proposer.append(node, plan.begin, this.#slice(plan.begin, plan.end));
      if (message) this.#send(node, message);
    }
  }

  #slice(from: Lsn, to: Lsn): Buffer {
    const part = this.#parts.findLast(({ at }) => at <= from)!;
    const offset = Number(from - part.at);
    return part.bytes.subarray(offset, offset + Number(to - from));
  }

  async #copy(node: NodeId, begin: Lsn, end: Lsn, holder: NodeId): Promise<void> {
    this.#copying.add(node);
    try {
      const { client } = this.#safekeepers.find((safekeeper) => safekeeper.node === holder)!;
      const request = {
        timelineId: this.proposer.identity.timeline,
        fromLsn: begin,
        untilLsn: end,
        uncommitted: true,
        term: this.proposer.term,
      };
      let at = begin;
      for await (const { wal } of client.as(this.#token).readWal(request)) {
        const message = this.proposer.append(node, at, wal);
        if (!message) break;
        this.#send(node, message);
        at = message.end;
      }
    } catch {
      await systemClock.sleep(50);
    } finally {
      this.#copying.delete(node);
      this.#pumpAll();
    }
  }
}
