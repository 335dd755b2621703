import {
  AcceptorHost,
  describeAcceptor,
  describeMessage,
  type AcceptorState,
  type Incoming,
} from '@coppice/consensus';
import { CoppiceError, Counter, Histogram, SequenceWait, type Log } from '@coppice/service-kit';
import { formatLsn, type Generation, type Lsn, type TimelineId } from '@coppice/vocabulary';
import type { PageserverPosition } from '../storage/control-file';
import type { TimelineStorage } from '../storage/timeline-storage';

const batches = new Histogram({
  name: 'coppice_safekeeper_batch_seconds',
  help: 'Time to write and flush what arrived together for one timeline.',
  buckets: [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1],
});
const messages = new Counter({
  name: 'coppice_safekeeper_messages_total',
  help: 'Proposer messages worked through.',
});

export interface TimelineOptions {
  readonly state: AcceptorState;
  readonly storage: TimelineStorage;
  readonly log: Log;
  readonly onCommit: (timeline: TimelineId, commitLsn: Lsn) => void;
  /** The disk cannot be trusted: forget this timeline, read it anew when it is asked for. */
  readonly onLost: (timeline: Timeline, error: unknown) => void;
}

/** One timeline in memory: its acceptor, the messages that wait for it, and those who follow its committed WAL. */
export class Timeline {
  readonly id: TimelineId;
  readonly startLsn: Lsn;
  readonly #options: TimelineOptions;
  readonly #host: AcceptorHost;
  readonly #commit: SequenceWait<Lsn>;
  readonly #over = new AbortController();
  #inbox: Incoming[] = [];
  #drained: (() => void)[] = [];
  #users = 0;

  constructor(options: TimelineOptions) {
    this.#options = options;
    this.id = options.state.timeline;
    this.startLsn = options.state.startLsn;
    this.#host = new AcceptorHost(options.state, options.storage);
    this.#commit = new SequenceWait(options.state.commitLsn);
  }

  get state(): AcceptorState {
    return this.#host.state;
  }
  get directory(): string {
    return this.#options.storage.directory;
  }
  /** End of the last record that is durable here. */
  get flushLsn(): Lsn {
    return this.#host.end.recordEnd;
  }
  get commitLsn(): Lsn {
    return this.#commit.value;
  }
  get history(): AcceptorHost['history'] {
    return this.#host.history;
  }
  get pageserver(): PageserverPosition {
    return this.#options.storage.pageserver;
  }
  /** Fires when this object must not be used any more. */
  get over(): AbortSignal {
    return this.#over.signal;
  }
  /** Whether nobody uses it now. */
  get idle(): boolean {
    return this.#users === 0 && this.#inbox.length === 0;
  }

  /** Keeps the timeline in memory until the returned function is called. */
  use(): () => void {
    this.#users++;
    let used = true;
    return () => {
      if (used) this.#users--;
      used = false;
    };
  }

  /** Takes a message; what arrives in one turn of the event loop is worked through together, with one flush. */
  receive(incoming: Incoming): void {
    this.#inbox.push(incoming);
    if (this.#inbox.length === 1) setImmediate(() => this.#drain());
  }

  /** Resolves when all messages received so far are answered. */
  async drained(): Promise<void> {
    if (this.#inbox.length > 0) await new Promise<void>((resolve) => this.#drained.push(resolve));
  }

  /** Resolves when WAL up to `lsn` is committed. */
  async committed(lsn: Lsn, signal: AbortSignal): Promise<void> {
    await this.#commit.waitFor(lsn, signal);
  }

  /** A pageserver tells how far it is; one of an older generation is not believed. */
  reportPageserver(report: {
    readonly generation: Generation;
    readonly ingestedLsn: Lsn;
    readonly durableLsn: Lsn;
  }): void {
    const known = this.pageserver;
    if (report.generation < known.generation) {
      throw new CoppiceError(
        'Fenced',
        'old-generation',
        `generation ${known.generation} has reported, this is ${report.generation}`,
      );
    }
    this.#options.storage.pageserver = report;
  }

  /** Persists the commit position, if it moved since. */
  saveCommit(): void {
    this.#guarded(() => this.#host.saveCommit());
  }

  /** Ends all use and writes nothing more: the timeline has a tombstone. */
  retire(why: CoppiceError): void {
    if (this.#over.signal.aborted) return;
    this.#options.storage.abandon();
    this.#end(why);
  }

  /** Writes down where everything ends and closes. Only when `idle`, or when the service stops. */
  close(): void {
    this.#guarded(() => this.#options.storage.close(this.state));
    this.#end(
      new CoppiceError('Unavailable', 'timeline-closed', `timeline ${this.id} was put away`, {
        remedy: 'Ask again.',
      }),
    );
  }

  #drain(): void {
    const batch = this.#inbox.splice(0);
    if (this.#over.signal.aborted) return;
    const took = batches.startTimer();
    this.#guarded(() => this.#host.receive(batch.map((incoming) => this.#noting(incoming))));
    took();
    messages.inc(batch.length);
    if (this.#host.state.commitLsn > this.#commit.value) {
      this.#commit.advance(this.#host.state.commitLsn);
      this.#options.onCommit(this.id, this.#commit.value);
    }
    for (const resolve of this.#drained.splice(0)) resolve();
    this.#guarded(() => this.#options.storage.prepareAhead());
  }

  /** Logs what a person may have to look at. */
  #noting({ message, answer }: Incoming): Incoming {
    const { log } = this.#options;
    return {
      message,
      answer: (reply) => {
        if (message.kind === 'elected' || message.kind === 'vote-request') {
          log.info(
            { timeline: this.id, message: describeMessage(message), reply: describeMessage(reply) },
            'election',
          );
        }
        if (reply.kind === 'refused') {
          const fields = {
            timeline: this.id,
            message: describeMessage(message),
            reply: describeMessage(reply),
          };
          if (reply.reason === 'broken')
            log.error(
              { ...fields, acceptor: describeAcceptor(this.state, this.#host.end) },
              'a rule is violated',
            );
          else if (reply.reason === 'storage') log.error(fields, 'wal cannot be stored');
          else log.info(fields, 'refused');
        }
        answer(reply);
      },
    };
  }

  /** Whatever the disk fails with beyond a refusal, this object is not to be believed any more. */
  #guarded(work: () => void): void {
    if (this.#over.signal.aborted) return;
    try {
      work();
    } catch (error) {
      this.#options.storage.abandon();
      this.#end(
        new CoppiceError(
          'Unavailable',
          'timeline-lost',
          `timeline ${this.id} failed here at ${formatLsn(this.commitLsn)}`,
          { cause: error },
        ),
      );
      this.#options.onLost(this, error);
    }
  }

  #end(why: CoppiceError): void {
    this.#commit.fail(why);
    this.#over.abort(why);
    for (const resolve of this.#drained.splice(0)) resolve();
  }
}
