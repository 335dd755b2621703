import type {
  AcceptorHost,
  AcceptorState,
  AcceptorStorage,
  Incoming,
  LogEnd,
  newAcceptor,
} from '@coppice/consensus';
import type { Lsn, NodeId } from '@coppice/vocabulary';
import { SimFile } from '../disk';
import type { World } from '../world';
import type { Checker } from './checker';
import { endOfSoundRecords, followRecords, LOG_BYTES, offsetOf, positionAt } from './model-wal';

/** Thrown inside a storage call: the process dies here. */
export class Crash extends Error {}

export interface AcceptorCode {
  readonly AcceptorHost: typeof AcceptorHost;
  readonly newAcceptor: typeof newAcceptor;
}

export interface SimAcceptorOptions {
  readonly node: NodeId;
  readonly world: World;
  readonly code: AcceptorCode;
  readonly checker: Checker;
  /** Chance of dying before and after each storage effect. */
  readonly crashChance: () => number;
}

/** One safekeeper: the real decisions and host on a simulated disk, which dies at any point of any effect. */
export class SimAcceptor implements AcceptorStorage {
  readonly node: NodeId;
  readonly file = new SimFile(LOG_BYTES);
  stored: AcceptorState | undefined;
  host: AcceptorHost | undefined;
  alive = true;
  #end: LogEnd = { written: positionAt(0), recordEnd: positionAt(0) };
  #inbox: Incoming[] = [];
  readonly #options: SimAcceptorOptions;

  constructor(options: SimAcceptorOptions) {
    this.node = options.node;
    this.#options = options;
  }

  /** Takes a message off the wire; a batch gathers until the next tick. */
  receive(incoming: Incoming): void {
    if (!this.alive) return;
    this.#inbox.push(incoming);
    if (this.#inbox.length === 1) this.#options.world.after(1, () => this.#work());
  }

  /** Uncommitted bytes for a leader's recovery: only from a log that is cut to the leader's. */
  recoveryRead(term: number, begin: Lsn, end: Lsn): Uint8Array | undefined {
    if (!this.alive || this.host?.state.term !== term || this.host.state.history.at(-1)?.term !== term)
      return undefined;
    const to = Math.min(offsetOf(end), offsetOf(this.#end.recordEnd));
    return to > offsetOf(begin) ? this.file.content.slice(offsetOf(begin), to) : undefined;
  }

  crash(): void {
    if (!this.alive) return;
    this.alive = false;
    this.host = undefined;
    this.#inbox = [];
    this.file.crash(this.#options.world.random);
    this.#options.checker.crashed(this);
  }

  /** Starts again from what the disk kept: scans for the end of the log, wipes what lies behind it. */
  restart(): void {
    this.alive = true;
    const from = this.stored ? offsetOf(this.stored.commitLsn) : 0;
    const end = endOfSoundRecords(this.file.content, from);
    this.file.write(end, new Uint8Array(LOG_BYTES - end));
    this.file.sync();
    this.#end = { written: positionAt(end), recordEnd: positionAt(end) };
    if (this.stored) this.host = new this.#options.code.AcceptorHost(this.stored, this);
    this.#options.checker.restarted(this);
  }

  #work(): void {
    const batch = this.#inbox.splice(0);
    if (!this.alive || batch.length === 0) return;
    const first = batch[0]!.message;
    if (!this.host && first.kind === 'greeting') {
      this.host = new this.#options.code.AcceptorHost(
        this.#options.code.newAcceptor(this.node, first, first.membership),
        this,
      );
    }
    try {
      this.host?.receive(batch);
      if (this.host) this.#options.checker.settled(this);
      if (this.host && this.#options.world.random.chance(0.05)) this.host.saveCommit();
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      this.crash();
      this.#options.world.after(this.#options.world.random.between(5, 300), () => this.restart());
    }
  }

  end(): LogEnd {
    return this.#end;
  }

  write(at: Lsn, bytes: Uint8Array): void {
    this.#mayCrash();
    const offset = offsetOf(at);
    this.file.write(offset, bytes);
    this.#end = followRecords(this.file.content, offsetOf(this.#end.recordEnd), offset + bytes.length);
    this.#mayCrash();
  }

  flush(): void {
    this.#mayCrash();
    this.file.sync();
    this.#mayCrash();
  }

  truncate(to: Lsn): void {
    this.#mayCrash();
    const offset = offsetOf(to);
    this.file.write(offset, new Uint8Array(LOG_BYTES - offset));
    this.#mayCrash();
    this.file.sync();
    this.#end = { written: to, recordEnd: to };
    this.#mayCrash();
  }

  save(state: AcceptorState): void {
    this.#mayCrash();
    this.#options.checker.saved(this, state);
    this.stored = state;
    this.#mayCrash();
  }

  #mayCrash(): void {
    if (this.#options.world.random.chance(this.#options.crashChance())) throw new Crash();
  }
}
