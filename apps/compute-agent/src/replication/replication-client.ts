/**
 * A physical replication client on PostgreSQL's Unix socket: how the agent gets the WAL of its own compute.
 *
 *   connect ──► identifySystem() ──► start(at, handlers) ──► wal, keepalive … ──► end
 *                                          ◄── acknowledge(position) whenever the quorum has moved
 *
 * The stream ends by itself when PostgreSQL stops: the stock walsender sends everything up to and with the shutdown
 * checkpoint, waits until it is acknowledged, and only then says CommandComplete.
 */
import { connect as connectSocket, type Socket } from 'node:net';
import { CoppiceError } from '@coppice/service-kit';
import { formatLsn, INVALID_LSN, parseLsn, type Lsn } from '@coppice/vocabulary';
import { MessageFramer } from './message-framer';
import * as wire from './messages';

const { Backend } = wire;

export interface ReplicationTarget {
  readonly socketPath: string;
  readonly user: string;
  /** What `synchronous_standby_names` lists. */
  readonly applicationName: string;
  /** Microseconds since 2000-01-01 UTC, for the status messages. */
  readonly micros: () => bigint;
}

export interface SystemIdentity {
  readonly systemIdentifier: bigint;
  readonly postgresTimeline: number;
  readonly walEnd: Lsn;
}

export interface StreamHandlers {
  /** WAL in order, without gaps. The bytes may share the socket's buffer: keep them or send them, do not write to them. */
  readonly onWal: (start: Lsn, bytes: Buffer) => void;
  /** The server wants to know how far the standby is. */
  readonly onReplyWanted: () => void;
}

type Reply = { readonly type: number; readonly body: Buffer };

export class ReplicationClient {
  readonly #socket: Socket;
  readonly #micros: () => bigint;
  readonly #framer = new MessageFramer((type, body) => this.#onMessage(type, body));
  /** Set while a command waits for its answer; messages up to ReadyForQuery or CopyBoth collect here. */
  #command: { readonly until: number; readonly replies: Reply[]; resolve(r: Reply[]): void; reject(e: unknown): void } | undefined;
  #handlers: StreamHandlers | undefined;
  #acknowledged: Lsn = INVALID_LSN;
  #received: Lsn = INVALID_LSN;
  #finished = false;
  #failure: CoppiceError | undefined;
  #end!: () => void;
  #fail!: (error: CoppiceError) => void;
  /** Resolves when the server ended the stream in order; rejects when the connection broke. */
  readonly ended: Promise<void>;

  private constructor(socket: Socket, micros: () => bigint) {
    this.#socket = socket;
    this.#micros = micros;
    this.ended = new Promise((resolve, reject) => {
      this.#end = resolve;
      this.#fail = reject;
    });
    this.ended.catch(() => undefined);
    socket.on('data', (chunk) => this.#onData(chunk));
    socket.on('error', (error) => this.#break(lost(error.message, error)));
    socket.on('close', () => this.#break(lost('it closed the connection')));
  }

  /** Opens a replication connection. Rejects with `NotYet` while PostgreSQL is still starting. */
  static async connect(target: ReplicationTarget, signal: AbortSignal): Promise<ReplicationClient> {
    signal.throwIfAborted();
    const client = new ReplicationClient(connectSocket(target.socketPath), target.micros);
    const startup = { user: target.user, replication: 'true', application_name: target.applicationName };
    await client.#cancellable(client.#run(wire.encodeStartup(startup), Backend.ready), signal);
    return client;
  }

  async identifySystem(signal: AbortSignal): Promise<SystemIdentity> {
    const replies = await this.#cancellable(this.#run(wire.encodeQuery('IDENTIFY_SYSTEM'), Backend.ready), signal);
    const row = replies.find((r) => r.type === Backend.dataRow);
    const [systemId, postgresTimeline, walEnd] = row ? wire.decodeDataRow(row.body) : [];
    const position = walEnd === undefined ? undefined : parseLsn(walEnd);
    if (!systemId || !postgresTimeline || position === undefined) throw lost('it answered IDENTIFY_SYSTEM with no row');
    return { systemIdentifier: BigInt(systemId), postgresTimeline: Number(postgresTimeline), walEnd: position };
  }

  /**
   * Starts the stream at `at`, which must be the end of a record or a page boundary. A slot that lives as long as this
   * connection keeps PostgreSQL from dropping WAL that is not acknowledged.
   */
  async start(at: Lsn, handlers: StreamHandlers, signal: AbortSignal): Promise<void> {
    const slot = '"coppice"';
    await this.#cancellable(this.#run(wire.encodeQuery(`CREATE_REPLICATION_SLOT ${slot} TEMPORARY PHYSICAL RESERVE_WAL`), Backend.ready), signal);
    this.#handlers = handlers;
    await this.#cancellable(this.#run(wire.encodeQuery(`START_REPLICATION SLOT ${slot} PHYSICAL ${formatLsn(at)}`), Backend.copyBoth), signal);
  }

  /** Tells the server that everything up to `position` is safe: this is what lets a commit answer its client. */
  acknowledge(position: Lsn): void {
    this.#acknowledged = position;
    this.acknowledgeAgain();
  }

  /** Repeats the last acknowledgement. */
  acknowledgeAgain(): void {
    if (!this.#finished) this.#socket.write(wire.encodeStatus(this.#acknowledged, this.#micros()));
  }

  /**
   * Resolves when the stream of a server that was told to stop is over. Its walsender goes once everything it sent is
   * acknowledged; an answer that we write just then breaks the connection before its farewell is read.
   */
  async over(): Promise<void> {
    await this.ended.catch((error: unknown) => {
      if (this.#received > this.#acknowledged) throw error;
    });
  }

  /** Stops reading from the socket: PostgreSQL's sending blocks, nothing piles up here. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Drops the connection without ceremony. */
  destroy(): void {
    this.#break(lost('the agent closed the stream'));
  }

  #run(message: Buffer, until: number): Promise<Reply[]> {
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#command = { until, replies: [], resolve, reject };
      this.#socket.write(message);
    });
  }

  async #cancellable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
    const onAbort = (): void => this.#break(lost('the agent gave up', signal.reason));
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await work;
    } catch (error) {
      this.destroy();
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  #onData(chunk: Buffer): void {
    try {
      this.#framer.push(chunk);
    } catch (error) {
      this.#break(error instanceof CoppiceError ? error : lost('it sent a malformed message', error));
    }
  }

  #onMessage(type: number, body: Buffer): void {
    if (type === Backend.copyData) return this.#onStream(wire.decodeStreamMessage(body));
    if (type === Backend.error) return this.#onError(wire.decodeError(body));
    const command = this.#command;
    if (command) {
      command.replies.push({ type, body: Buffer.from(body) });
      if (type !== command.until) return;
      this.#command = undefined;
      command.resolve(command.replies);
      return;
    }
    if (type === Backend.commandComplete || type === Backend.copyDone) this.#finish();
  }

  #onStream(message: wire.StreamMessage): void {
    if (message.kind === 'wal') {
      this.#received = (message.start + BigInt(message.bytes.length)) as Lsn;
      this.#handlers?.onWal(message.start, message.bytes);
    } else if (message.kind === 'keepalive' && message.replyWanted) this.#handlers?.onReplyWanted();
  }

  #onError(e: ReturnType<typeof wire.decodeError>): void {
    const starting = e.sqlstate === '57P03';
    const error = new CoppiceError(starting ? 'NotYet' : 'Unavailable', starting ? 'postgres-starting' : 'replication-refused', `postgres: ${e.message} (${e.sqlstate})`);
    this.#break(error);
  }

  #finish(): void {
    this.#finished = true;
    this.#end();
    this.#socket.end(wire.encodeTerminate());
  }

  #break(error: CoppiceError): void {
    this.#failure ??= error;
    if (!this.#finished) {
      this.#finished = true;
      this.#fail(this.#failure);
    }
    this.#socket.destroy();
    this.#command?.reject(this.#failure);
    this.#command = undefined;
  }
}

function lost(why: string, cause?: unknown): CoppiceError {
  return new CoppiceError('Unavailable', 'replication-lost', `the replication stream from postgres broke: ${why}`, { cause });
}
