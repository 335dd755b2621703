import type {
  AcceptorMessage,
  AppendLimits,
  Proposer,
  ProposerMessage,
  ProposerOutput,
} from '@coppice/consensus';
import { describeMessage } from '@coppice/consensus';
import { lsn, type Lsn, type NodeId } from '@coppice/vocabulary';
import type { Network } from '../network';
import type { World } from '../world';
import type { Checker } from './checker';
import { LOG_BYTES, modelRecord, offsetOf } from './model-wal';
import type { SimAcceptor } from './sim-acceptor';

export interface SimProposerOptions {
  readonly name: string;
  readonly proposer: Proposer;
  readonly acceptors: readonly SimAcceptor[];
  readonly world: World;
  readonly network: Network;
  readonly checker: Checker;
  readonly limits: () => AppendLimits;
  readonly trace: (line: () => string) => void;
  /** Write before the start position is committed, as no compute would. */
  readonly eager: boolean;
}

interface Connection {
  readonly acceptor: SimAcceptor;
  progress: number;
  reading: boolean;
}

/** A compute agent: drives the real proposer over the simulated network, writes records while it leads. */
export class SimProposer {
  readonly name: string;
  readonly proposer: Proposer;
  readonly #options: SimProposerOptions;
  readonly #connections = new Map<NodeId, Connection>();
  #log: Uint8Array<ArrayBufferLike> = new Uint8Array(0);
  #stopped = false;
  #salt = 0;
  #writing = true;
  /** How much of the own log the proposer was told of. */
  #told = 0;

  constructor(options: SimProposerOptions) {
    this.name = options.name;
    this.proposer = options.proposer;
    this.#options = options;
  }

  get over(): boolean {
    return this.#stopped || this.proposer.phase === 'deposed';
  }

  start(): void {
    for (const acceptor of this.#options.acceptors) this.#connect(acceptor);
    this.#tick();
  }

  /** The process dies: nothing of it is heard again but what is on the wire. */
  stop(): void {
    this.#stopped = true;
  }

  #tick(): void {
    if (this.over) return;
    const { world, acceptors } = this.#options;
    if (this.proposer.phase === 'leading' || (this.#options.eager && this.proposer.phase === 'recovering'))
      this.#write();
    for (const acceptor of acceptors) {
      const connection = this.#connections.get(acceptor.node)!;
      if (world.now - connection.progress > 120) this.#connect(acceptor);
      else {
        const announcement = this.proposer.announceCommit(acceptor.node);
        if (announcement) this.#send(connection, announcement);
      }
    }
    this.#pump();
    world.after(world.random.between(5, 30), () => this.#tick());
  }

  /** Writes no more; tells all of what it wrote. */
  finishWriting(): void {
    this.#writing = false;
    this.#tell(this.#log.length);
  }

  #write(): void {
    if (!this.#writing) return;
    const { random } = this.#options.world;
    const records = Array.from({ length: random.between(0, 3) }, () =>
      modelRecord(random.between(3, 40), this.proposer.term * 1000 + this.#salt++),
    );
    const grown = Buffer.concat([this.#log, ...records]);
    if (offsetOf(this.proposer.startLsn!) + grown.length > LOG_BYTES - 64) return;
    this.#log = grown;
    // Like a walsender, tell of bytes up to anywhere in the last record.
    this.#tell(
      random.chance(0.3) ? grown.length - random.between(0, Math.min(20, grown.length)) : grown.length,
    );
  }

  #tell(length: number): void {
    const from = this.proposer.startLsn;
    if (from === undefined || this.over) return;
    this.#told = Math.max(this.#told, length);
    this.proposer.ownLog({ from, to: lsn(from + BigInt(this.#told)) });
  }

  #connect(acceptor: SimAcceptor): void {
    const connection: Connection = { acceptor, progress: this.#options.world.now, reading: false };
    this.proposer.disconnected(acceptor.node);
    this.#connections.set(acceptor.node, connection);
    this.#perform(this.proposer.connected(acceptor.node));
  }

  #perform(outputs: readonly ProposerOutput[]): void {
    for (const output of outputs) {
      const connection = this.#connections.get(output.to)!;
      if (output.kind === 'send') this.#send(connection, output.message);
      else {
        this.#options.trace(() => `${this.name} makes a new stream to ${output.to}: ${output.because}`);
        this.#options.world.after(20, () => {
          if (!this.over && this.#connections.get(output.to) === connection)
            this.#connect(connection.acceptor);
        });
      }
    }
  }

  #send(connection: Connection, message: ProposerMessage): void {
    const { network, trace, checker } = this.#options;
    const { acceptor } = connection;
    trace(() => `${this.name} → ${acceptor.node}  ${describeMessage(message)}`);
    network.send(this.name, acceptor.node, () =>
      acceptor.receive({
        message,
        answer: (reply) => {
          trace(() => `${acceptor.node} → ${this.name}  ${describeMessage(reply)}`);
          checker.told(acceptor, this.name, reply);
          network.send(acceptor.node, this.name, () => this.#receive(connection, reply));
        },
      }),
    );
  }

  #receive(connection: Connection, message: AcceptorMessage): void {
    const { node } = connection.acceptor;
    if (this.over || this.#connections.get(node) !== connection) return;
    connection.progress = this.#options.world.now;
    const before = this.proposer.commitLsn;
    this.#perform(this.proposer.received(node, message));
    this.#options.checker.proposed(this.name, this.proposer, before);
    this.#pump();
  }

  #pump(): void {
    for (const [node, connection] of this.#connections) {
      for (;;) {
        const plan = this.proposer.nextAppend(node, this.#options.limits());
        if (!plan || this.over) break;
        if (plan.from.kind === 'peer') {
          this.#copy(connection, plan.begin, plan.end, plan.from.holders);
          break;
        }
        const offset = Number(plan.begin - this.proposer.startLsn!);
        const message = this.proposer.append(
          node,
          plan.begin,
          this.#log.slice(offset, offset + Number(plan.end - plan.begin)),
        );
        if (message) this.#send(connection, message);
      }
    }
  }

  /** Recovery: reads from a holder over the network, appends to the one that lacks it. */
  #copy(connection: Connection, begin: Lsn, end: Lsn, holders: readonly NodeId[]): void {
    if (connection.reading) return;
    connection.reading = true;
    const { network, world, acceptors } = this.#options;
    const chosen = world.random.pick(holders);
    const holder = acceptors.find(({ node }) => node === chosen)!;
    world.after(60, () => (connection.reading = false));
    network.send(this.name, holder.node, () => {
      const bytes = holder.recoveryRead(this.proposer.term, begin, end);
      if (!bytes) return;
      network.send(holder.node, this.name, () => {
        connection.reading = false;
        if (this.over || this.#connections.get(connection.acceptor.node) !== connection) return;
        const message = this.proposer.append(connection.acceptor.node, begin, bytes);
        if (message) this.#send(connection, message);
        this.#pump();
      });
    });
  }
}
