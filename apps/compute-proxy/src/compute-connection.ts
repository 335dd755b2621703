/** Opens the server side of a session: the compute's Unix socket trusts the proxy, no password goes there. */
import type { Socket } from 'node:net';
import { connect } from 'node:net';
import { join } from 'node:path';
import { CoppiceError } from '@coppice/service-kit';
import { readErrorFields, readMessage, writeStartup } from '@coppice/postgres';
import type { When } from './when';

export interface ComputeAddress {
  readonly socketDirectory: string;
  readonly port: number;
}

export interface ComputeSession {
  /** Of the startup packet. */
  readonly parameters: Iterable<readonly [string, string]>;
  /** The session goes through the compute's socket for sessions that cannot write. */
  readonly readOnly: boolean;
  /** Which compute: that of the endpoint, or one that runs its branch as it was. */
  readonly when?: When | undefined;
}

export interface ComputeConnection {
  readonly socket: Socket;
  readonly address: ComputeAddress;
  readonly socketPath: string;
  /** What the backend said before it was ready (ParameterStatus, NoticeResponse), as bytes for the client. */
  readonly greeting: Buffer;
  readonly backendPid: number;
  readonly backendSecret: Buffer;
  /** Bytes from ReadyForQuery on. */
  readonly rest: Buffer;
}

/** The server refused the session; its own ErrorResponse goes to the client as it is. */
export class ServerRefused extends Error {
  readonly response: Buffer;
  readonly sqlstate: string;
  constructor(response: Buffer, fields: ReadonlyMap<string, string>) {
    super(fields.get('M') ?? 'the server refused the connection');
    this.response = response;
    this.sqlstate = fields.get('C') ?? '';
  }
}

const MAX_GREETING_BYTES = 1024 * 1024;
/** Below the socket directory: PostgreSQL locks what comes in through it (see the compute agent's interposer). */
const READ_ONLY_SOCKETS = 'read-only';
/** A setting that the server reports, and that is on in every session so locked. */
const LOCKED_SETTING = 'default_transaction_read_only';

function gone(cause?: unknown): CoppiceError {
  return new CoppiceError(
    'Unavailable',
    'compute-gone',
    'the compute ended the connection while it was made',
    { remedy: 'Connect again.', cause },
  );
}

function notLocked(): CoppiceError {
  return new CoppiceError(
    'Internal',
    'session-not-read-only',
    'the compute did not confirm that the session is read-only; it was ended',
    { remedy: 'Connect again; report it when it stays.' },
  );
}

/** Whether a ParameterStatus says that the session is locked. */
function saysLocked(body: Buffer): boolean {
  return body.equals(Buffer.from(`${LOCKED_SETTING}\0on\0`));
}

/** Connects and starts a session; resolves when the backend is about to say that it is ready. */
export function openCompute(
  address: ComputeAddress,
  { parameters, readOnly }: ComputeSession,
  signal: AbortSignal,
): Promise<ComputeConnection> {
  const socketPath = join(
    address.socketDirectory,
    readOnly ? READ_ONLY_SOCKETS : '.',
    `.s.PGSQL.${address.port}`,
  );
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    let buffered = Buffer.alloc(0);
    const greeting: Buffer[] = [];
    let locked = false;
    let backendPid = 0;
    let backendSecret: Buffer = Buffer.alloc(0);
    const finish = (act: () => void): void => {
      socket.off('data', onData).off('error', onGone).off('close', onGone);
      signal.removeEventListener('abort', onAbort);
      act();
    };
    const fail = (error: unknown): void =>
      finish(() => {
        socket.on('error', () => undefined);
        socket.destroy();
        reject(error);
      });
    const onGone = (error: unknown): void => fail(gone(error));
    const onAbort = (): void => fail(signal.reason);
    const onData = (chunk: Buffer): void => {
      buffered = Buffer.concat([buffered, chunk]);
      if (buffered.length > MAX_GREETING_BYTES) return fail(gone());
      for (;;) {
        const found = readMessage(buffered, MAX_GREETING_BYTES);
        if (!found) return;
        const raw = buffered.subarray(0, found.length);
        const { type, body } = found.message;
        if (type === 'S' && saysLocked(body)) locked = true;
        if (type === 'Z') {
          if (readOnly && !locked) return fail(notLocked());
          socket.pause();
          return finish(() =>
            resolve({
              socket,
              address,
              socketPath,
              greeting: Buffer.concat(greeting),
              backendPid,
              backendSecret,
              rest: buffered,
            }),
          );
        }
        buffered = buffered.subarray(found.length);
        if (type === 'E') return fail(new ServerRefused(Buffer.from(raw), readErrorFields(body)));
        if (type === 'R' && body.readUInt32BE(0) !== 0)
          return fail(gone(new Error('the compute asks the proxy for a password')));
        if (type === 'K') {
          backendPid = body.readUInt32BE(0);
          backendSecret = Buffer.from(body.subarray(4));
        } else if (type === 'S' || type === 'N') greeting.push(Buffer.from(raw));
      }
    };
    socket.on('connect', () => socket.write(writeStartup(parameters)));
    socket.on('data', onData).on('error', onGone).on('close', onGone);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
