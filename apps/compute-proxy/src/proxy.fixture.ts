/** The proxy's parts in this process, before a stand-in for a compute: enough of a server to start sessions, which answers with what it is sent. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deriveVerifier, readFirstPacket, writeAuthentication, Auth, writeMessage } from '@coppice/postgres';
import { CoppiceError, type Part, silentLog, systemClock, systemRandom } from '@coppice/service-kit';
import { CancelKeys } from './cancel/cancel-keys';
import { GuessLimit } from './limits/guess-limit';
import { listener } from './listener';
import { LoginLimits, type LoginLimitsConfig } from './limits/login-limits';
import { ServerPool } from './pool/server-pool';
import { tlsOf } from './tls/certificate';
import { makePem } from './tls/pem.fixture';
import { serveClient, type SessionServices } from './session';
import { wakeAndOpen } from './wake-and-open';

export const ENDPOINT = 'ep-calm-fox-1';
export const PASSWORD = 's3cret';
const PORT = 5432;
/** Limits that no test meets unless it sets them. */
export const GENEROUS: LoginLimitsConfig = {
  endpointConnections: 20_000,
  agentConnections: 20_000,
  endpointLogins: 20_000,
  addressLogins: 20_000,
};
const READY = Buffer.concat([
  writeAuthentication(Auth.ok),
  writeMessage('S', Buffer.from('server_version\x0017.0\0')),
  writeMessage('K', Buffer.from([0, 0, 0, 7, 1, 2, 3, 4])),
  writeMessage('Z', Buffer.from('I')),
]);

export class TestProxy {
  readonly port: number;
  readonly directory: string;
  /** Sessions that are being served. */
  serving = 0;
  wakes = 0;
  /** What `serveClient` threw, which it never may. */
  readonly thrown: unknown[] = [];
  readonly #parts: Part[] = [];
  readonly #server: Server;
  readonly #sessions = new Set<Socket>();

  private constructor(port: number, directory: string, server: Server) {
    this.port = port;
    this.directory = directory;
    this.#server = server;
  }

  static async start(
    over: Partial<SessionServices> & { readonly maxConnections?: number } = {},
  ): Promise<TestProxy> {
    const directory = mkdtempSync(join(tmpdir(), 'proxy-'));
    const server = createServer();
    const proxy = new TestProxy(await freePort(), directory, server);
    server.on('connection', (socket) => proxy.#serve(socket));
    await new Promise<void>((resolve) => server.listen(join(directory, `.s.PGSQL.${PORT}`), resolve));
    const services = await servicesOf(proxy, over);
    const part = listener({
      host: '127.0.0.1',
      port: proxy.port,
      maxConnections: over.maxConnections ?? 20_000,
      log: silentLog(),
      serve: async (socket) => {
        proxy.serving += 1;
        await serveClient(socket, services).catch((error: unknown) => proxy.thrown.push(error));
        proxy.serving -= 1;
      },
    });
    await part.start();
    proxy.#parts.push(part);
    return proxy;
  }

  /** Sessions that the stand-in has. */
  get serverSessions(): number {
    return this.#sessions.size;
  }

  #serve(socket: Socket): void {
    this.#sessions.add(socket);
    let started = false;
    socket.on('error', () => socket.destroy()).on('close', () => this.#sessions.delete(socket));
    socket.on('data', (chunk: Buffer) => {
      if (started) return void (chunk[0] === 'X'.charCodeAt(0) ? socket.end() : socket.write(chunk));
      started = readFirstPacket(chunk)?.packet.kind === 'startup';
      if (started) socket.write(READY);
      else socket.end();
    });
  }

  async stop(): Promise<void> {
    for (const part of this.#parts) await part.stop();
    for (const socket of this.#sessions) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.directory, { recursive: true, force: true });
  }
}

async function servicesOf(proxy: TestProxy, over: Partial<SessionServices>): Promise<SessionServices> {
  const pem = makePem(proxy.directory);
  const tls = tlsOf({ cert: readFileSync(pem.cert), key: readFileSync(pem.key) });
  // Few iterations: the tests log in often.
  const verifier = await deriveVerifier(PASSWORD, Buffer.from('0123456789abcdef'), 16);
  const credential = { ...verifier, credentialId: 'c', expiresUnixMs: 0, readOnly: false, connectAs: 'app' };
  const waking = {
    clock: systemClock,
    wake: async () => {
      proxy.wakes += 1;
      return { computeId: 'compute-1', socketDirectory: proxy.directory, port: PORT, started: false };
    },
    wakeTimeoutMs: 5_000,
  };
  const watching = {
    log: silentLog(),
    liveCredentials: { add: () => () => undefined },
    transfers: { add: () => () => undefined },
  };
  const pool = new ServerPool({
    ...watching,
    clock: systemClock,
    open: ({ endpoint, parameters, readOnly }, signal) =>
      wakeAndOpen(endpoint, { parameters, readOnly }, waking, signal),
    maxServers: 10,
    maxServersPerEndpoint: 10,
    maxWaitingPerEndpoint: 100,
    waitTimeoutMs: 5_000,
    idleTimeoutMs: 60_000,
    maxStatementBytes: 32 * 1024 * 1024,
  });
  return {
    ...waking,
    ...watching,
    pool,
    random: systemRandom,
    cancelKeys: new CancelKeys(systemRandom),
    limits: new LoginLimits(GENEROUS, systemClock),
    guesses: new GuessLimit({ perSecond: 1, burst: 10_000, clock: systemClock }),
    mockSecret: Buffer.alloc(32, 7),
    tls: () => tls,
    lookUpLogin: async (endpoint, role) => {
      if (endpoint !== ENDPOINT)
        throw new CoppiceError('NotFound', 'endpoint-not-found', `endpoint ${endpoint} does not exist`);
      return { branchId: 'br-a-b-c', agentId: 'agent', verifiers: role === 'app' ? [credential] : [] };
    },
    loginTimeoutMs: 2_000,
    ...over,
  };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await new Promise((r) => probe.once('listening', r));
  const { port } = probe.address() as AddressInfo;
  await new Promise((r) => probe.close(r));
  return port;
}
