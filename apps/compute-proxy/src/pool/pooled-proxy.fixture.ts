/** A proxy with pooled connections before one real Postgres, and a client that speaks the protocol byte by byte. */
import type { AddressInfo, Socket } from 'node:net';
import { connect, createServer } from 'node:net';
import { Client, type ClientConfig } from 'pg';
import type { ScramVerifierMessage } from '@coppice/contracts';
import { deriveVerifier, type Message, readMessage, writeMessage, writeStartup } from '@coppice/postgres';
import { createLog, systemClock, systemRandom } from '@coppice/service-kit';
import { startPostgres, type TestPostgres } from '@coppice/testing';
import { CancelKeys } from '../cancel/cancel-keys';
import { GuessLimit } from '../limits/guess-limit';
import { listener } from '../listener';
import { LiveCredentials } from '../live-credentials';
import { LoginLimits } from '../limits/login-limits';
import { GENEROUS } from '../proxy.fixture';
import { serveClient, type SessionServices } from '../session';
import { TransferMeter } from '../transfer-meter';
import { ServerPool } from './server-pool';
import { wakeAndOpen } from '../wake-and-open';

export const ENDPOINT = 'ep-calm-fox-1';
const SALT = Buffer.from('0123456789abcdef');

export interface PooledProxy {
  readonly postgres: TestPostgres;
  readonly port: number;
  readonly live: LiveCredentials;
  readonly ended: Set<string>;
  readonly transferred: () => Promise<number>;
  /** Server connections opened so far. */
  readonly opens: () => number;
  readonly wakes: () => number;
  /** As the compute agent does it; the next wake waits for its end. */
  readonly suspend: () => Promise<void>;
  readonly config: (over?: ClientConfig) => ClientConfig;
  readonly connect: (over?: ClientConfig) => Promise<Client>;
  readonly stop: () => Promise<void>;
}

/** Passwords `one` and `two` are two credentials of the role `app`; `other` is one of the role `other`. */
export async function startPooledProxy(
  maxServersPerEndpoint = 5,
  over: Partial<SessionServices> = {},
  maxWaitingPerEndpoint = 1_000,
): Promise<PooledProxy> {
  const postgres = await startPostgres({});
  await postgres.query('create role app login superuser; create role other login superuser');
  await postgres.query('create role coppice_admin login superuser');
  const credential = async (role: string, credentialId: string, password: string) => ({
    ...(await deriveVerifier(password, SALT, 4096)),
    ...{ credentialId, expiresUnixMs: 0, readOnly: false, connectAs: role },
  });
  const logins: Record<string, ScramVerifierMessage[]> = {
    app: [await credential('app', 'app-one', 'one'), await credential('app', 'app-two', 'two')],
    other: [await credential('other', 'other', 'other')],
  };
  const ended = new Set<string>();
  let transferred = 0;
  let opens = 0;
  let wakes = 0;
  let stopping: Promise<void> | undefined;
  let starting: Promise<void> | undefined;
  // Nothing that a client can do is an error of the proxy's.
  const log = createLog('compute-proxy', 'error');
  const live = new LiveCredentials({ findEnded: async () => [...ended], clock: systemClock, log });
  const transfers = new TransferMeter({
    tell: async (told) => {
      for (const { bytes } of told) transferred += bytes;
    },
    log,
  });
  const waking = {
    clock: systemClock,
    wakeTimeoutMs: 20_000,
    wake: async () => {
      await stopping;
      if (postgres.pid === undefined) {
        wakes += 1;
        starting ??= postgres.start().finally(() => (starting = undefined));
      }
      await starting;
      return {
        computeId: 'compute-1',
        socketDirectory: postgres.socketDirectory,
        port: postgres.port,
        started: false,
      };
    },
  };
  const pool = new ServerPool({
    open: ({ endpoint, parameters, readOnly }, signal) => {
      opens += 1;
      return wakeAndOpen(endpoint, { parameters, readOnly }, waking, signal);
    },
    liveCredentials: live,
    transfers,
    clock: systemClock,
    log,
    maxServers: 20,
    maxServersPerEndpoint,
    maxWaitingPerEndpoint,
    waitTimeoutMs: 20_000,
    idleTimeoutMs: 60_000,
    maxStatementBytes: 32 * 1024 * 1024,
  });
  const services = {
    ...waking,
    pool,
    log,
    random: systemRandom,
    cancelKeys: new CancelKeys(systemRandom),
    liveCredentials: live,
    transfers,
    limits: new LoginLimits(GENEROUS, systemClock),
    guesses: new GuessLimit({ perSecond: 1, burst: 100, clock: systemClock }),
    mockSecret: systemRandom.bytes(32),
    tls: () => undefined,
    lookUpLogin: async (_: string, role: string) => ({
      branchId: 'br-a-b-c',
      agentId: 'agent',
      verifiers: logins[role] ?? [],
    }),
    loginTimeoutMs: 20_000,
    ...over,
  };
  const port = await freePort();
  const door = listener({
    host: '127.0.0.1',
    port,
    maxConnections: 200,
    log,
    serve: (socket) => serveClient(socket, services),
  });
  await pool.asPart().start();
  await door.start();
  const config = (over: ClientConfig = {}): ClientConfig => ({
    host: '127.0.0.1',
    port,
    user: 'app',
    password: 'one',
    database: 'postgres',
    options: `endpoint=${ENDPOINT}-pooler`,
    ...over,
  });
  return {
    postgres,
    port,
    live,
    ended,
    transferred: async () => {
      await transfers.tell();
      return transferred;
    },
    opens: () => opens,
    wakes: () => wakes,
    suspend: () => {
      // As the agent does: a compute that is being started is not stopped halfway.
      stopping = Promise.resolve(starting).then(() => postgres.stop('fast'));
      return stopping;
    },
    config,
    connect: async (over) => {
      const client = new Client(config(over));
      client.on('error', () => undefined);
      await client.connect();
      return client;
    },
    stop: async () => {
      await door.stop();
      await pool.asPart().stop();
      await postgres.dispose();
    },
  };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => probe.once('listening', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** Sends and takes raw messages. */
export class WireClient {
  readonly socket: Socket;
  #chunks: Buffer[] = [];
  #size = 0;
  #wanted = 5;
  readonly #messages: Message[] = [];
  #wake = (): void => undefined;
  #isClosed = false;

  private constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#size += chunk.length;
      if (this.#size < this.#wanted) return;
      let bytes = Buffer.concat(this.#chunks);
      for (let found = readMessage(bytes, 1 << 28); found; found = readMessage(bytes, 1 << 28)) {
        this.#messages.push(found.message);
        bytes = bytes.subarray(found.length);
      }
      this.#chunks = [bytes];
      this.#size = bytes.length;
      this.#wanted = bytes.length < 5 ? 5 : 1 + bytes.readUInt32BE(1);
      this.#wake();
    });
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => {
      this.#isClosed = true;
      this.#wake();
    });
  }

  static async connect(port: number, password = 'one', user = 'app'): Promise<WireClient> {
    const client = new WireClient(port);
    client.send(
      writeStartup(
        new Map([
          ['user', user],
          ['database', 'postgres'],
        ]),
      ),
    );
    client.send(writeMessage('p', Buffer.from(`endpoint=${ENDPOINT}-pooler;${password}\0`)));
    await client.ready();
    return client;
  }

  send(...messages: Buffer[]): void {
    this.socket.write(Buffer.concat(messages));
  }

  /** The next message; `undefined` when the connection is over. */
  async next(): Promise<Message | undefined> {
    while (this.#messages.length === 0 && !this.#isClosed)
      await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.#messages.shift();
  }

  /** Messages up to and with the next ReadyForQuery, or to the end, in short: type, and what tells one from another. */
  async ready(): Promise<string[]> {
    const seen: string[] = [];
    for (;;) {
      const message = await this.next();
      if (!message) return [...seen, 'closed'];
      seen.push(inShort(message));
      if (message.type === 'Z') return seen;
    }
  }
}

function inShort({ type, body }: Message): string {
  if (type === 'Z' || type === 'C') return `${type}:${body.toString('utf8').replace('\0', '')}`;
  if (type === 'E') return `E:${/C(\w{5})\0/.exec(body.toString('latin1'))![1]!}`;
  if (type === 'D') return `D:${body.toString('utf8', 6)}`;
  return type;
}
