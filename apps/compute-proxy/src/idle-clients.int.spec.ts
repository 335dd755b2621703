/** What a client that does nothing costs the proxy, which runs in a process of its own behind its real listener. */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { buildSync } from 'esbuild';
import { Auth, readFirstPacket, writeAuthentication, writeMessage, writeStartup } from '@coppice/postgres';
import { systemClock } from '@coppice/service-kit';
import { ENDPOINT, PASSWORD } from './proxy.fixture';

const FULL = process.env['COPPICE_TEST_FULL'] !== undefined;
const CLIENTS = FULL ? 10_000 : 1_000;
/** Each has a connection to the server as well. */
const DIRECT_CLIENTS = FULL ? 4_000 : 400;
const AT_ONCE = 50;
const MIB = 1024 * 1024;
/** Of the whole process, with ten thousand pooled clients. */
const MOST_RESIDENT_MIB = 300;
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
const READY_FOR_QUERY = writeMessage('Z', Buffer.from('I'));
const READY = Buffer.concat([
  writeAuthentication(Auth.ok),
  writeMessage('K', Buffer.from([0, 0, 0, 7, 1, 2, 3, 4])),
  READY_FOR_QUERY,
]);
const STARTUP = writeStartup([
  ['user', 'app'],
  ['database', 'db'],
]);

interface Memory extends NodeJS.MemoryUsage {
  readonly serving: number;
}

const directory = mkdtempSync(join(tmpdir(), 'idle-'));
const program = join(directory, 'proxy.js');
let compute: Server;
const opened: Socket[] = [];

beforeAll(async () => {
  buildSync({
    entryPoints: [join(__dirname, 'testing/idle-proxy.main.ts')],
    ...{ outfile: program, bundle: true, platform: 'node', target: 'node20', packages: 'external' },
    ...{ tsconfig: join(__dirname, '../../../tsconfig.base.json') },
    nodePaths: [join(__dirname, '../../../node_modules')],
  });
  compute = createServer((socket) => {
    opened.push(socket.on('error', () => undefined));
    socket.once('data', (first: Buffer) => {
      if (readFirstPacket(first)?.packet.kind === 'startup') socket.write(READY);
    });
  });
  await new Promise<void>((resolve) => compute.listen(join(directory, '.s.PGSQL.5432'), resolve));
});
afterAll(async () => {
  for (const socket of opened) socket.destroy();
  await new Promise((resolve) => compute.close(resolve));
  rmSync(directory, { recursive: true });
});

class Proxy {
  readonly #process: ChildProcess;
  port = 0;

  private constructor(child: ChildProcess) {
    this.#process = child;
  }

  static async start(): Promise<Proxy> {
    const env = { ...process.env, NODE_PATH: join(__dirname, '../../../node_modules') };
    const proxy = new Proxy(fork(program, [directory], { env, execArgv: ['--expose-gc'] }));
    proxy.port = (await proxy.#told<{ port: number }>()).port;
    return proxy;
  }

  #told<T>(): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#process.once('message', (message) => resolve(message as T));
      this.#process.once('exit', () => reject(new Error('the proxy ended')));
    });
  }

  /** After two collections, so that what is left is used. */
  async memory(): Promise<Memory> {
    for (let round = 0; ; round += 1) {
      this.#process.send('memory');
      const memory = await this.#told<Memory>();
      if (round === 2) return memory;
      await systemClock.sleep(200);
    }
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGKILL');
    await ended;
  }
}

/** Logs in and then says nothing. */
async function idleClient(port: number, over: 'plain' | 'TLS', pooled: boolean): Promise<Socket> {
  const plain = connect(port, '127.0.0.1');
  let socket = plain;
  if (over === 'TLS') {
    plain.write(SSL_REQUEST);
    await new Promise((resolve) => plain.once('data', resolve));
    socket = connectTls({ socket: plain, rejectUnauthorized: false });
  }
  const name = pooled ? `${ENDPOINT}-pooler` : ENDPOINT;
  socket.write(Buffer.concat([STARTUP, writeMessage('p', Buffer.from(`endpoint=${name};${PASSWORD}\0`))]));
  return new Promise((resolve, reject) => {
    let heard = Buffer.alloc(0);
    const onData = (chunk: Buffer): void => {
      heard = Buffer.concat([heard, chunk]);
      if (!heard.subarray(-READY_FOR_QUERY.length).equals(READY_FOR_QUERY)) return;
      socket.off('data', onData);
      resolve(socket);
    };
    socket.on('data', onData).once('close', () => reject(new Error(`closed: ${heard.toString('latin1')}`)));
    socket.on('error', () => undefined);
  });
}

/** What the proxy grew by, with so many clients, after a first few have made it load what it needs. */
async function cost(clients: number, over: 'plain' | 'TLS', pooled: boolean) {
  const proxy = await Proxy.start();
  const sockets: Socket[] = [];
  const add = async (count: number): Promise<void> => {
    let left = count;
    const work = async (): Promise<void> => {
      for (; left > 0; ) {
        left -= 1;
        sockets.push(await idleClient(proxy.port, over, pooled));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  };
  try {
    await add(100);
    const before = await proxy.memory();
    await add(clients - 100);
    const after = await proxy.memory();
    expect(after.serving).toBe(clients);
    const each = (of: (memory: Memory) => number): number =>
      Math.round((of(after) - of(before)) / (clients - 100));
    return {
      residentMiB: Math.round(after.rss / MIB),
      each: each((m) => m.rss),
      heapEach: each((m) => m.heapUsed),
      externalEach: each((m) => m.external),
    };
  } finally {
    for (const socket of sockets) socket.destroy();
    await proxy.stop();
  }
}

describe('a client that does nothing', () => {
  it.each([
    ['pooled', 'plain', { heap: 10, resident: 16 }],
    // 24 of what is resident are OpenSSL's and Node's.
    ['pooled', 'TLS', { heap: 12, resident: 42 }],
    ['direct', 'plain', { heap: 20, resident: 40 }],
    ['direct', 'TLS', { heap: 24, resident: 60 }],
  ] as const)(
    '%s, %s, costs the proxy at most %j KiB',
    async (kind, over, most) => {
      const clients = kind === 'pooled' ? CLIENTS : DIRECT_CLIENTS;
      const measured = await cost(clients, over, kind === 'pooled');
      console.log(`${clients} clients, ${kind}, ${over}:`, measured);
      expect(measured.heapEach).toBeLessThan(most.heap * 1024);
      // With fewer, what the process itself still grows by is more than they cost.
      if (FULL) expect(measured.each).toBeLessThan(most.resident * 1024);
      if (kind === 'pooled' && over === 'plain') expect(measured.residentMiB).toBeLessThan(MOST_RESIDENT_MIB);
    },
    300_000,
  );
});
