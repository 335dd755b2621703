import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext, connect as connectTls, TLSSocket } from 'node:tls';
import { systemClock } from '@coppice/service-kit';
import { FULL } from '@coppice/testing';
import { makePem } from './tls/pem.fixture';
import { splice, type Splice } from './splice';

const MB = 1024 * 1024;
const TOTAL_MB = FULL ? 1024 : 32;

const directory = mkdtempSync(join(tmpdir(), 'splice-'));
const pem = makePem(directory);
const context = createSecureContext({ cert: readFileSync(pem.cert), key: readFileSync(pem.key) });
afterAll(() => rmSync(directory, { recursive: true }));

const listening = (server: Server, at?: string): Promise<Server> =>
  new Promise((resolve) =>
    at ? server.listen(at, () => resolve(server)) : server.listen(0, '127.0.0.1', () => resolve(server)),
  );

/** A client's end and a server's end with a splice between them. */
interface Line {
  readonly client: Socket;
  readonly server: Socket;
  readonly spliced: Splice;
  end(): Promise<void>;
}

async function lineOf(kind: 'plain' | 'TLS'): Promise<Line> {
  const servers: Server[] = [];
  const path = join(directory, `s${Math.trunc(performance.now() * 1000)}`);
  const accepted = new Promise<Socket>((resolve) =>
    servers.push(createServer({ allowHalfOpen: true }, resolve)),
  );
  await listening(servers[0]!, path);
  const spliced = new Promise<Splice>((resolve) => {
    const front = createServer({ noDelay: true }, (plain) => {
      const near =
        kind === 'plain' ? plain : new TLSSocket(plain, { isServer: true, secureContext: context });
      near.pause();
      const far = connect(path);
      far.pause();
      const ready = [new Promise((r) => far.once('connect', r))];
      if (kind === 'TLS') ready.push(new Promise((r) => near.once('secure', r)));
      void Promise.all(ready).then(() => resolve(splice(near, far)));
    });
    servers.push(front);
  });
  const { port } = (await listening(servers[1]!)).address() as AddressInfo;
  const client =
    kind === 'plain'
      ? connect({ port, host: '127.0.0.1', allowHalfOpen: true })
      : connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, allowHalfOpen: true } as object);
  client.on('error', () => undefined);
  const server = await accepted;
  server.on('error', () => undefined);
  return {
    client,
    server,
    spliced: await spliced,
    end: async () => {
      client.destroy();
      server.destroy();
      await (
        await spliced
      ).closed;
      for (const s of servers) await new Promise((r) => s.close(r));
    },
  };
}

const everything = (socket: Socket): Promise<Buffer> =>
  new Promise((resolve) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => resolve(Buffer.concat(chunks)));
    socket.resume();
  });

/** Writes as fast as it is let, until it is through or has waited too long; gives the megabytes that went. */
async function pour(socket: Socket, megabytes: number, patienceMs = 1_000): Promise<number> {
  const block = Buffer.alloc(MB, 'x');
  let sent = 0;
  for (; sent < megabytes; sent += 1) {
    if (socket.write(block)) continue;
    const stuck = new AbortController();
    const drained = new Promise<boolean>((resolve) => socket.once('drain', () => resolve(true)));
    const patience = systemClock.sleep(patienceMs, stuck.signal).then(
      () => false,
      () => false,
    );
    const goesOn = await Promise.race([drained, patience]);
    stuck.abort();
    if (!goesOn) break;
  }
  return sent;
}

describe.each(['plain', 'TLS'] as const)('a splice of a %s client', (kind) => {
  let line: Line;
  beforeEach(async () => (line = await lineOf(kind)));
  afterEach(() => line.end());

  it('passes both ways, and counts', async () => {
    const back = everything(line.client);
    line.server.on('data', (chunk: Buffer) => line.server.write(chunk)).on('end', () => line.server.end());
    const sent = Buffer.from(Array.from({ length: MB }, (_, i) => (i * 7 + (i >> 8)) & 255));
    for (let at = 0, size = 1; at < sent.length; at += size, size = (size * 3) % 200_003) {
      line.client.write(sent.subarray(at, at + size));
      if (size % 5 === 0) await systemClock.sleep(1);
    }
    line.client.end();
    expect((await back).equals(sent)).toBe(true);
    await line.spliced.closed;
    expect([line.spliced.moved.bytesRead, line.spliced.moved.bytesWritten]).toEqual([
      sent.length,
      sent.length,
    ]);
  });
  it('gives a client that has said its last word the answers to it', async () => {
    const asked = everything(line.server);
    const answer = everything(line.client);
    line.client.end('last');
    expect((await asked).toString()).toBe('last');
    line.server.end('an answer to the last');
    expect((await answer).toString()).toBe('an answer to the last');
    await line.spliced.closed;
  });
  it('lets the client have what the server said before it ended', async () => {
    line.server.end(Buffer.alloc(4 * MB, 'y'));
    await systemClock.sleep(50);
    expect(await everything(line.client)).toHaveLength(4 * MB);
    line.client.end();
    await line.spliced.closed;
  });
  it.each(['client', 'server'] as const)('ends with a %s that breaks off', async (side) => {
    const [broken, other] = side === 'client' ? [line.client, line.server] : [line.server, line.client];
    other.on('end', () => other.end()).resume();
    broken.destroy();
    await line.spliced.closed;
  });
  it('stops the server while the client reads nothing, and holds next to nothing', async () => {
    line.client.pause();
    const before = process.memoryUsage();
    const sent = await pour(line.server, TOTAL_MB);
    const after = process.memoryUsage();
    // The kernel's own buffers, of two sockets.
    expect(sent).toBeLessThan(24);
    expect(after.external - before.external).toBeLessThan(8 * MB);
    const rest = everything(line.client);
    line.server.end();
    expect((await rest).length).toBeGreaterThanOrEqual(sent * MB);
  });
  it('stops the client while the server reads nothing', async () => {
    line.server.pause();
    expect(await pour(line.client, TOTAL_MB)).toBeLessThan(24);
  });
});

describe('a slow client', () => {
  it('costs no more memory the larger its result is', async () => {
    const line = await lineOf('plain');
    let got = 0;
    const pace = (chunk: Buffer): void => {
      got += chunk.length;
      line.client.pause();
      setImmediate(() => line.client.resume());
    };
    line.client.on('data', pace).on('end', () => line.client.end());
    let most = 0;
    const first = process.memoryUsage().rss;
    const watch = setInterval(() => (most = Math.max(most, process.memoryUsage().rss)), 20);
    const sent = await pour(line.server, TOTAL_MB, 20_000);
    line.server.end();
    await line.spliced.closed;
    clearInterval(watch);
    expect([sent, got]).toEqual([TOTAL_MB, TOTAL_MB * MB]);
    expect(most - first).toBeLessThan(64 * MB);
    await line.end();
  });
});
