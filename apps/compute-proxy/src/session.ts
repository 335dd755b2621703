/**
 * One client, from its first byte to its last:
 *   first packet (TLS, cancel, startup) → route → authenticate → [held] wake → open the compute → splice
 * Authentication completes before the wake, so a wrong password never starts a compute.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { ByteWriter } from '@coppice/bytes';
import type { Login } from '@coppice/contracts';
import type { FirstPacket } from '@coppice/postgres';
import {
  Auth,
  BadMessage,
  BadStartup,
  PROTOCOL_3_0,
  readFirstPacket,
  writeAuthentication,
  writeError,
  writeMessage,
  writeNegotiateProtocol,
} from '@coppice/postgres';
import type { Log, Random } from '@coppice/service-kit';
import { asCoppiceError, CoppiceError, ERROR_KINDS, shownOutside, withDeadline } from '@coppice/service-kit';
import {
  type Authenticated,
  authenticateByScram,
  authenticateInClear,
  type AuthenticateOptions,
  WRONG_PASSWORD,
} from './authenticate';
import type { CancelKeys } from './cancel/cancel-keys';
import { ClientGone, ClientStream, LOGIN_TOO_SLOW } from './client-stream';
import { type ComputeConnection, ServerRefused } from './compute-connection';
import { endBackend } from './end-backend';
import type { GuessLimit } from './http/guess-limit';
import type { LiveCredentials } from './live-credentials';
import type { LoginLimits } from './login-limits';
import { APPLICATION_NAME, poolTarget } from './pool/pool-target';
import { servePooled } from './pool/serve-pooled';
import type { ServerPool } from './pool/server-pool';
import { type NamedEndpoint, routeOf } from './route';
import { type Splice, splice } from './splice';
import { type FirstExchange, firstRow } from './start-phases';
import type { Tls } from './tls/certificate';
import type { TransferMeter } from './transfer-meter';
import { type OpenedCompute, wakeAndOpen, type Waking } from './wake-and-open';
import { spliceStream } from './websocket/splice-stream';

export interface SessionServices extends Waking {
  readonly log: Log;
  readonly random: Random;
  readonly cancelKeys: CancelKeys;
  readonly liveCredentials: Pick<LiveCredentials, 'add'>;
  readonly transfers: Pick<TransferMeter, 'add'>;
  readonly pool: ServerPool;
  readonly limits: LoginLimits;
  readonly guesses: GuessLimit;
  readonly mockSecret: Buffer;
  /** The certificate in force; `undefined`: TLS is not offered. */
  readonly tls: () => Tls | undefined;
  readonly lookUpLogin: (endpoint: string, role: string, database: string) => Promise<Login>;
  readonly loginTimeoutMs: number;
}

/** How a client came in, where that is not TCP. */
export interface Arrival {
  /** The host that it asked for, which stands for the server name of TLS. */
  readonly host: string | undefined;
  readonly address: string;
  /** Called once the client has shown a password. */
  readonly loggedIn: () => void;
}

interface Startup {
  readonly parameters: ReadonlyMap<string, string>;
  readonly version: number;
  readonly serverName: string | undefined;
  readonly tls: Tls | undefined;
  /** Then the password comes in clear, within the encryption of what carries the session. */
  readonly arrival: Arrival | undefined;
}

/** For the server's last message to reach a client whose session is ended. */
const LAST_WORDS_MS = 200;

/** Serves one accepted connection; never throws. */
export async function serveClient(
  socket: Duplex,
  services: SessionServices,
  stop: AbortSignal,
  arrival?: Arrival,
): Promise<void> {
  const connectedAt = services.clock.monotonic();
  const away = new AbortController();
  socket.on('error', () => socket.destroy());
  socket.once('close', () => away.abort(new ClientGone()));
  const signal = AbortSignal.any([away.signal, stop]);
  const login = AbortSignal.any([signal, deadlineWith(services.loginTimeoutMs)]);
  const client = new ClientStream(socket, login);
  try {
    const startup = await negotiate(client, services, arrival);
    if (!startup) return client.end();
    await serveSession(client, { ...startup, connectedAt }, services, signal);
  } catch (error) {
    refuse(client, error, services.log);
  }
}

function deadlineWith(ms: number): AbortSignal {
  const timed = withDeadline(ms);
  const own = new AbortController();
  timed.addEventListener('abort', () => own.abort(LOGIN_TOO_SLOW), { once: true });
  return own.signal;
}

/** First packets until the startup message; `undefined` when there is no session to serve. */
async function negotiate(
  client: ClientStream,
  services: SessionServices,
  arrival: Arrival | undefined,
): Promise<Startup | undefined> {
  let tls: Tls | undefined;
  for (let round = 0; round < 4; round += 1) {
    const { packet }: { packet: FirstPacket } = await client.read(readFirstPacket);
    switch (packet.kind) {
      case 'cancel':
        await services.cancelKeys.cancel(packet, addressOf(client, arrival));
        return undefined;
      case 'gssenc':
        client.write(Buffer.from('N'));
        break;
      case 'ssl': {
        const offered = arrival ? undefined : services.tls();
        if (tls || !offered) {
          client.write(Buffer.from('N'));
          break;
        }
        tls = offered;
        await startTls(client, offered);
        break;
      }
      case 'startup': {
        const { parameters, version } = packet;
        if (arrival) return { parameters, version, serverName: arrival.host, tls, arrival };
        const { servername } = client.socket as { servername?: string | false };
        const serverName = typeof servername === 'string' ? servername : undefined;
        return { parameters, version, serverName, tls, arrival };
      }
    }
  }
  throw new BadStartup('too many negotiation requests before the startup packet');
}

function addressOf(client: ClientStream, arrival: Arrival | undefined): string {
  return arrival?.address ?? (client.socket as Socket).remoteAddress ?? '';
}

async function startTls(client: ClientStream, { context }: Tls): Promise<void> {
  if (client.takeBuffered().length > 0) throw new BadStartup('received unencrypted data after SSL request');
  const plain = client.socket as Socket;
  plain.write('S');
  const secure = new TLSSocket(plain, {
    isServer: true,
    secureContext: context,
    ALPNProtocols: ['postgresql'],
  });
  client.socket = secure;
  secure.on('error', () => secure.destroy());
  await client.until('secure');
}

async function serveSession(
  client: ClientStream,
  startup: Startup & { readonly connectedAt: number },
  services: SessionServices,
  signal: AbortSignal,
): Promise<void> {
  const { parameters } = startup;
  const role = parameters.get('user');
  if (!role)
    throw new CoppiceError('Malformed', 'no-user', 'no PostgreSQL user name specified in startup packet');
  if (
    parameters.get('replication') &&
    !['false', 'off', 'no', '0'].includes(parameters.get('replication')!)
  ) {
    throw new CoppiceError(
      'Forbidden',
      'replication-not-offered',
      'replication connections are not offered here',
      { remedy: 'Connect without the replication parameter.' },
    );
  }
  const unknownOptions = [...parameters.keys()].filter((name) => name.startsWith('_pq_.'));
  if (startup.version !== PROTOCOL_3_0 || unknownOptions.length > 0)
    client.write(writeNegotiateProtocol(unknownOptions));
  const database = parameters.get('database') || role;
  const route = routeOf(startup.serverName, parameters.get('options'));
  const address = addressOf(client, startup.arrival);
  let agentId = '';
  let guesser = '';
  const auth = {
    client,
    role,
    random: services.random,
    mockSecret: services.mockSecret,
    serverEndPoint: startup.tls?.serverEndPoint,
    lookUp: async (endpoint: string) => {
      services.limits.login(endpoint, address);
      guesser = `${address} ${endpoint} ${role}`;
      // Looked at before, taken after: many who know the password may be on their way in at once.
      services.guesses.take(guesser)();
      const login = await services.lookUpLogin(endpoint, role, database);
      agentId = login.agentId;
      return login;
    },
  };
  const named = route.endpoint === undefined ? undefined : { endpoint: route.endpoint, pooled: route.pooled };
  const { endpoint, pooled, credential } = await authenticate(auth, named, startup).catch(
    (error: unknown) => {
      if (error instanceof CoppiceError && error.code === WRONG_PASSWORD) services.guesses.take(guesser);
      throw error;
    },
  );
  const leave = services.limits.enter(endpoint, agentId);
  try {
    client.write(writeAuthentication(Auth.ok));
    startup.arrival?.loggedIn();

    const forwarded = new Map(
      [...parameters].filter(([name]) => name !== 'options' && !name.startsWith('_pq_.')),
    );
    forwarded.set('user', credential.connectAs);
    forwarded.set('database', database);
    if (route.options !== undefined) forwarded.set('options', route.options);
    if (pooled) {
      const pooledClient = {
        client,
        target: poolTarget(endpoint, credential, forwarded, route),
        applicationName: forwarded.get(APPLICATION_NAME),
        describe: (error: unknown) => lastWords(error, services.log),
        credentialEnded: credentialEnded(role),
      };
      return await servePooled(pooledClient, services, signal);
    }
    const over = new AbortController();
    const unwatch = services.liveCredentials.add({
      ...credential,
      end: () => over.abort(credentialEnded(role)),
    });
    try {
      const compute = await wakeAndOpen(
        endpoint,
        {
          parameters: forwarded,
          readOnly: credential.readOnly || route.readOnly,
          when: route.when,
        },
        services,
        AbortSignal.any([signal, over.signal]),
      );
      const end = (): void => void endSession(client, compute, services);
      over.signal.addEventListener('abort', end, { once: true });
      if (over.signal.aborted) end();
      await serveCompute({ client, endpoint, connectedAt: startup.connectedAt }, compute, services);
    } finally {
      unwatch();
    }
  } finally {
    leave();
  }
}

async function authenticate(
  options: AuthenticateOptions,
  named: NamedEndpoint | undefined,
  { arrival }: Startup,
): Promise<Authenticated> {
  if (named === undefined || arrival) return authenticateInClear(options, named);
  return { ...named, credential: await authenticateByScram(named.endpoint, options) };
}

/** Both sides, whatever they are doing; a client that still listens is told by PostgreSQL. */
async function endSession(
  client: ClientStream,
  compute: ComputeConnection,
  { clock, log }: SessionServices,
): Promise<void> {
  try {
    await endBackend(compute.address, compute.backendPid);
    await clock.sleep(LAST_WORDS_MS);
  } catch (error) {
    log.warn({ err: error }, 'a session that is over is cut off, its last statement may go on');
  } finally {
    compute.socket.destroy();
    client.socket.destroy();
  }
}

export function credentialEnded(role: string): CoppiceError {
  return new CoppiceError(
    'Unauthenticated',
    'credential-ended',
    `the credential of user "${role}" was revoked or expired`,
    { remedy: 'Make a new one.' },
  );
}

interface ReadySession {
  readonly client: ClientStream;
  readonly endpoint: string;
  readonly connectedAt: number;
}

async function serveCompute(
  { client, endpoint, connectedAt }: ReadySession,
  compute: OpenedCompute,
  services: SessionServices,
): Promise<void> {
  const key = services.cancelKeys.add({
    socketPath: compute.socketPath,
    pid: compute.backendPid,
    secret: compute.backendSecret,
  });
  try {
    client.write(
      Buffer.concat([
        compute.greeting,
        writeMessage('K', new ByteWriter().u32be(key.pid).raw(key.secret).finish()),
        compute.rest,
      ]),
    );
    const first = compute.started ? firstRow(services.clock, connectedAt) : undefined;
    const early = client.takeBuffered();
    if (early.length > 0) {
      first?.asked();
      compute.socket.write(early);
    }
    const passing = spliced(client.socket, compute.socket, first);
    const uncount = services.transfers.add(endpoint, passing.moved);
    await passing.closed;
    uncount();
  } finally {
    key.remove();
  }
}

function spliced(client: Duplex, server: Socket, first: FirstExchange | undefined): Splice {
  if (client instanceof Socket) return splice(client, server, first);
  return { closed: spliceStream(client, server, first), moved: server };
}

/** Says why in a PostgreSQL error and closes. */
function refuse(client: ClientStream, error: unknown, log: Log): void {
  if (error instanceof ClientGone || client.socket.destroyed) return void client.socket.destroy();
  client.write(lastWords(error, log));
  client.end();
}

/** The PostgreSQL error that ends a session. */
function lastWords(error: unknown, log: Log): Buffer {
  if (error instanceof ServerRefused) return error.response;
  if (error instanceof BadStartup || error instanceof BadMessage)
    return writeError({ severity: 'FATAL', code: '08P01', message: error.message });
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    return writeError({
      severity: 'FATAL',
      code: '57P03',
      message: 'the compute did not start in time',
      hint: 'Try again.',
    });
  }
  const known = asCoppiceError(error);
  if (known.kind === 'Internal') log.error({ err: error }, 'session fails');
  const shown = shownOutside(known);
  return writeError({
    severity: 'FATAL',
    code: known.sqlstate ?? ERROR_KINDS[known.kind].sqlstate,
    message: shown.message,
    hint: shown.remedy,
  });
}
