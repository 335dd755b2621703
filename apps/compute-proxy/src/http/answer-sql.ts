/**
 * One request to `/sql`, from its headers to its answer:
 *   connection string → password → body → server connection of the pool → run → give it back
 * Whoever does not show the password has no body read, and starts no compute.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import type { ScramVerifierMessage } from '@coppice/contracts';
import { BadMessage } from '@coppice/postgres';
import { anySignal, type Clock, CoppiceError, withDeadline } from '@coppice/service-kit';
import type { LiveCredentials } from '../live-credentials';
import { MAX_ATTEMPTS } from '../pool/not-taken-up';
import { poolTarget, type PoolTarget } from '../pool/pool-target';
import type { PooledServer } from '../pool/pooled-server';
import type { ServerMessages } from '../pool/server-messages';
import type { ServerPool } from '../pool/server-pool';
import { credentialEnded } from '../last-words';
import type { ByteAccount } from './byte-budget';
import { readConnectionString, type Target } from './connection-string';
import type { PasswordLogins } from './password-logins';
import { readBody } from './read-body';
import { runSql } from './run-sql';
import { CONNECTION_LOST, NotTakenUp } from './server-exchange';
import { queryCancelled, requestTimedOut, requestTooLarge, responseTooLarge } from './sql-errors';
import { modeHeaders, readMode, readSqlRequest, type SqlRequest } from './sql-request';

export interface SqlServices {
  readonly logins: Pick<PasswordLogins, 'verify'>;
  readonly pool: Pick<ServerPool, 'use'>;
  readonly liveCredentials: Pick<LiveCredentials, 'add'>;
  readonly clock: Clock;
  readonly maxRequestBytes: number;
  readonly maxResponseBytes: number;
  readonly receiveMs: number;
}

export interface SqlCall {
  readonly headers: IncomingHttpHeaders;
  readonly body: Readable;
  /** Address of the client. */
  readonly from: string;
  readonly account: ByteAccount;
  /** Fires when the client goes, or the proxy stops. */
  readonly signal: AbortSignal;
}

export interface SqlAnswer {
  readonly headers: Readonly<Record<string, string>>;
  /** In UTF-8. */
  readonly json: Buffer;
}

/** Beside values: a row description of 1,600 long names. */
const MESSAGE_SLACK_BYTES = 512 * 1024;
/** For a cancelled statement to end, so that its connection can be kept. */
const CANCELLED_MS = 100;

export async function answerSql(call: SqlCall, services: SqlServices): Promise<SqlAnswer> {
  const { headers, signal } = call;
  const target = readConnectionString(one(headers['neon-connection-string']));
  if (headers.authorization !== undefined) throw noTokens();
  const mode = readMode(headers);
  if (Number(headers['content-length']) > services.maxRequestBytes)
    throw requestTooLarge(services.maxRequestBytes);
  const credential = await services.logins.verify(target, call.from);
  const request = await requestOf(call, services);
  const over = new AbortController();
  const unwatch = services.liveCredentials.add({
    ...credential,
    end: () => over.abort(credentialEnded(target.role)),
  });
  try {
    const either = anySignal([signal, over.signal]);
    const json = await runOnServer(request, sessionOf(target, credential), {
      services,
      signal: either,
      account: call.account,
    });
    return { json, headers: request.kind === 'batch' ? modeHeaders(mode) : {} };
  } catch (error) {
    if (over.signal.aborted) throw over.signal.reason;
    if (signal.aborted) throw queryCancelled();
    throw error;
  } finally {
    unwatch();
  }
}

const one = (header: string | string[] | undefined): string | undefined =>
  Array.isArray(header) ? undefined : header;

function noTokens(): CoppiceError {
  return new CoppiceError('Malformed', 'no-tokens', 'missing authentication credentials: required password', {
    remedy: 'Authorization headers are not taken here: put the password into the connection string.',
  });
}

/** The body that it was read from is let go of. */
async function requestOf(call: SqlCall, services: SqlServices): Promise<SqlRequest> {
  const body = await bodyOf(call, services);
  const request = readSqlRequest(call.headers, body);
  call.account.add(Math.max(0, request.bytes.length - body.length));
  return request;
}

async function bodyOf(call: SqlCall, { maxRequestBytes, receiveMs }: SqlServices): Promise<Buffer> {
  const signal = withDeadline(receiveMs, call.signal);
  try {
    return await readBody(call.body, { maxBytes: maxRequestBytes, account: call.account, signal });
  } catch (error) {
    if (call.signal.aborted) throw queryCancelled();
    throw signal.aborted ? requestTimedOut(receiveMs) : error;
  }
}

function sessionOf(target: Target, credential: ScramVerifierMessage): PoolTarget {
  const startup = new Map(target.parameters);
  startup.set('user', credential.connectAs);
  startup.set('database', target.database);
  // Whatever the role or the database has: what is sent and read here is UTF-8.
  startup.set('client_encoding', 'UTF8');
  return poolTarget(target.endpoint, credential, startup, target.opening);
}

interface Run {
  readonly services: SqlServices;
  readonly signal: AbortSignal;
  readonly account: ByteAccount;
}

/** A compute may be suspended just when its connection was taken: then the request wakes it again, and its client sees nothing. */
async function runOnServer(request: SqlRequest, target: PoolTarget, run: Run): Promise<Buffer> {
  const { services, signal } = run;
  const maxMessageBytes = services.maxResponseBytes + MESSAGE_SLACK_BYTES;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await services.pool.use(target, { signal, maxMessageBytes }, (messages, server) =>
        runOver(messages, server, request, run),
      );
    } catch (error) {
      if (!(error instanceof NotTakenUp)) throw error;
      if (attempt === MAX_ATTEMPTS) throw computeGone(error);
    }
  }
}

function computeGone(cause: unknown): CoppiceError {
  return new CoppiceError(
    'Unavailable',
    'compute-gone',
    'the compute ended its connections, several times over',
    {
      remedy: 'Try again shortly.',
      cause,
    },
  );
}

async function runOver(
  messages: ServerMessages,
  server: PooledServer,
  request: SqlRequest,
  { services, signal, account }: Run,
): Promise<Buffer> {
  const work = runSql(messages, request, { maxBytes: services.maxResponseBytes, account, signal });
  try {
    return await untilAborted(work, signal);
  } catch (error) {
    if (server.tookNothing && error instanceof CoppiceError && error.code === CONNECTION_LOST)
      throw new NotTakenUp();
    if (messages.isIdle || error instanceof NotTakenUp) throw error;
    await server.cancel();
    if (signal.aborted) {
      const ended = work.then(ignore, ignore);
      await Promise.race([ended, services.clock.sleep(CANCELLED_MS)]);
    }
    throw error instanceof BadMessage ? responseTooLarge(services.maxResponseBytes) : error;
  }
}

const ignore = (): void => undefined;

function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
