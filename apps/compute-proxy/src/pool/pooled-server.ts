import type { Writable } from 'node:stream';
import type { ComputeConnection } from '../compute-connection';
import { sendCancel } from '../cancel/cancel-keys';
import { CLOSED_UNREAD, READ_AT_ONCE_BYTES } from './not-taken-up';
import type { FirstExchange } from '../start-phases';
import type { PoolTarget } from './pool-target';
import { readSettings, type ReportedSettings } from './reported-settings';

/** Who a server connection belongs to at the moment; it gets everything that happens on the connection. */
export interface Holder {
  onData(chunk: Buffer): void;
  /** The server takes bytes again, after `write` said false. */
  onDrain(): void;
  /** The connection is gone. */
  onClose(): void;
}

/** Small pieces are cheaper to copy than to write one by one, bytes. */
const WORTH_COPYING = 16 * 1024;

export function writeAll(socket: Writable, buffers: readonly Buffer[]): boolean {
  if (buffers.length === 1) return socket.write(buffers[0]!);
  let size = 0;
  for (const buffer of buffers) size += buffer.length;
  if (size <= WORTH_COPYING) return socket.write(Buffer.concat(buffers, size));
  socket.cork();
  let takesMore = true;
  for (const buffer of buffers) takesMore = socket.write(buffer);
  socket.uncork();
  return takesMore;
}

/** Names of statements, the least recently used first. Their texts are counted where the clients' are. */
export type ServerStatements = Set<string>;

/** One connection to a backend, with what is known of the state that its session is in. */
export class PooledServer {
  readonly target: PoolTarget;
  readonly #connection: ComputeConnection;
  /** Who used it last: what that one may have left behind unseen is cleared before another uses it. `undefined`: it is clean. */
  owner: object | undefined;
  /** A statement was seen that leaves something behind in the session. */
  isDirty = false;
  /** SQL may have made prepared statements, or removed ours. */
  forgetsStatements = false;
  /** Prepared on the backend, by the name that they have there. */
  readonly statements: ServerStatements = new Set();
  /** Which of a client's unnamed statements the backend's is, when that is known. */
  unnamed: object | undefined;
  /** What the backend reported last. */
  reported: ReportedSettings;
  /** Of the pool's clock; valid while it is idle. */
  idleSinceMs = 0;
  #closedUnread = false;
  /** Until its first answer. */
  #first: FirstExchange | undefined;
  /** Of its holder. */
  #writes = 0;
  #writtenBytes = 0;
  #holder: Holder | undefined;
  #cancels = 0;
  #afterCancels: (() => void) | undefined;
  /** A request to cancel was sent since the last reset. */
  wasCancelled = false;

  constructor(target: PoolTarget, connection: ComputeConnection, first?: FirstExchange) {
    this.target = target;
    this.#connection = connection;
    this.#first = first;
    this.reported = readSettings(connection.greeting);
    const { socket } = connection;
    // An idle backend has nothing to say but that it ends.
    socket.on('data', (chunk: Buffer) => {
      if (this.#first?.answered()) this.#first = undefined;
      if (this.#holder) this.#holder.onData(chunk);
      else socket.destroy();
    });
    socket.on('drain', () => this.#holder?.onDrain());
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#closedUnread ||= CLOSED_UNREAD.has(error.code ?? '');
      socket.destroy();
    });
    socket.on('close', () => this.#holder?.onClose());
    socket.resume();
  }

  get isGone(): boolean {
    return this.#connection.socket.destroyed;
  }

  get connection(): ComputeConnection {
    return this.#connection;
  }

  /** For one transaction; an owner that is not named does not come back. */
  assign(owner: object | undefined): this {
    this.owner = owner;
    if (owner === undefined) this.isDirty = true;
    return this;
  }

  hold(holder: Holder): void {
    this.#holder = holder;
    this.#writes = 0;
    this.#writtenBytes = 0;
  }

  /** It is gone, and read nothing of what its holder wrote. */
  get tookNothing(): boolean {
    return this.#closedUnread && this.#writes === 1 && this.#writtenBytes <= READ_AT_ONCE_BYTES;
  }

  /** From here on nobody expects anything of it. */
  letGo(): void {
    this.#holder = undefined;
    this.#connection.socket.resume();
  }

  /** Several buffers as one. False: wait for `onDrain` before writing much more. */
  writeAll(buffers: readonly Buffer[]): boolean {
    this.#first?.asked();
    this.#writes += 1;
    for (const buffer of buffers) this.#writtenBytes += buffer.length;
    return writeAll(this.#connection.socket, buffers);
  }

  /** False: wait for `onDrain` before writing much more. */
  write(bytes: Buffer): boolean {
    this.#first?.asked();
    this.#writes += 1;
    this.#writtenBytes += bytes.length;
    return this.#connection.socket.write(bytes);
  }

  /** It is to be written to no more until `onDrain`. */
  get isFull(): boolean {
    return this.#connection.socket.writableNeedDrain;
  }

  pause(): void {
    this.#connection.socket.pause();
  }

  resume(): void {
    this.#connection.socket.resume();
  }

  /** Cancels what the backend does now. Its next user comes after PostgreSQL has delivered the request, so it cannot hit them. */
  async cancel(): Promise<void> {
    const { socketPath, backendPid, backendSecret } = this.#connection;
    this.#cancels += 1;
    this.wasCancelled = true;
    const isDelivered = await sendCancel({ socketPath, pid: backendPid, secret: backendSecret });
    if (!isDelivered) this.destroy();
    this.#cancels -= 1;
    if (this.#cancels === 0) this.#afterCancels?.();
  }

  /** Resolves when no cancel request is on its way. */
  async cancelled(): Promise<void> {
    if (this.#cancels > 0) await new Promise<void>((resolve) => (this.#afterCancels = resolve));
  }

  get isBeingCancelled(): boolean {
    return this.#cancels > 0;
  }

  destroy(): void {
    this.#connection.socket.destroy();
  }
}
