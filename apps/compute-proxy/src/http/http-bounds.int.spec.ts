/** What `/sql` and its connections hold at most. */
import { connect, type Socket } from 'node:net';
import { systemClock } from '@coppice/service-kit';
import { HttpWorld, MAX_BYTES, MAX_CONNECTIONS } from '../testing/http-world';

let world: HttpWorld;
let url: string;
beforeAll(async () => {
  world = await HttpWorld.start();
  url = `http://127.0.0.1:${world.port}/sql`;
  await world.postgres.query('create table t (id int primary key, name text not null)');
});
afterAll(() => world?.stop());

const post: HttpWorld['post'] = (...request) => world.post(...request);

describe('what is too much', () => {
  it('a request that is too large is refused before it is read', async () => {
    const large = 'x'.repeat(MAX_BYTES);
    expect(await post({ query: large })).toMatchObject({
      status: 413,
      json: { message: `request is too large (max is ${MAX_BYTES} bytes)` },
    });
    const chunked = await fetch(url, {
      method: 'POST',
      headers: { 'neon-connection-string': world.uri() },
      body: new Blob([large, large]).stream(),
      duplex: 'half',
    } as RequestInit);
    expect(chunked.status).toBe(413);
  });

  it('an answer that is too large is given up, and nothing of its batch has happened', async () => {
    const many = 'select repeat(a.relname, 20) from pg_class a, pg_class b, pg_class c';
    for (const query of [many, `select repeat('x', ${MAX_BYTES * 3})`])
      expect(await post({ query })).toMatchObject({
        status: 507,
        json: { message: `response is too large (max is ${MAX_BYTES} bytes)` },
      });
    await world.ended('repeat');
    const queries = [{ query: "insert into t values (77, 'x')" }, { query: many }];
    expect((await post({ queries })).status).toBe(507);
    expect((await post({ query: 'select count(*)::int as n from t where id = 77' })).json.rows).toEqual([
      { n: 0 },
    ]);
  });

  it('a batch with much to send and much to get does not lock up', async () => {
    const queries = Array.from({ length: 400 }, () => ({
      query: 'select length($1), repeat($2, 1000)',
      params: ['x'.repeat(2_000), 'y'],
    }));
    const { status, json } = await post({ queries });
    expect([status, json.results.length]).toEqual([200, 400]);
  });

  it('many requests at once share a few connections, and memory is given back', async () => {
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, i) => post({ query: 'select $1::int as i', params: [i] })),
    );
    expect(answers.map(({ json }) => json.rows?.[0].i)).toEqual(Array.from({ length: 200 }, (_, i) => i));
    const [{ n }] = (await world.postgres.query<{ n: number }>(
      "select count(*)::int as n from pg_stat_activity where usename = 'app'",
    )) as [{ n: number }];
    expect(n).toBeLessThanOrEqual(10);
    while (world.budget.held > 0) await systemClock.sleep(5);
  });
});

describe('connections that mean no good', () => {
  const open = (): Promise<Socket> =>
    new Promise((resolve) => {
      const socket: Socket = connect(world.port, '127.0.0.1', () => resolve(socket));
      socket.on('error', () => undefined);
    });
  const untilClosed = (socket: Socket): Promise<string> =>
    new Promise((resolve) => {
      let text = '';
      socket.on('data', (chunk) => (text += chunk.toString('latin1')));
      socket.on('close', () => resolve(text));
    });
  const talk = async (...bytes: readonly (string | Buffer)[]): Promise<string> => {
    const socket = await open();
    for (const b of bytes) socket.write(b);
    return untilClosed(socket);
  };
  const head = (length: number): string =>
    `POST /sql HTTP/1.1\r\nHost: x\r\nNeon-Connection-String: ${world.uri()}\r\nContent-Length: ${length}\r\n`;

  it('get an error and are closed', async () => {
    expect(await talk('nonsense\r\n\r\n')).toMatch(/^HTTP\/1.1 400 /);
    expect(await talk(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]))).toMatch(/^HTTP\/1.1 400 /);
    expect(await talk(Buffer.from([22, 9, 9, 0, 1, 0]))).not.toContain('HTTP');
    expect(await talk(`GET / HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`)).toMatch(/^HTTP\/1.1 431 /);
  });

  it('are not waited for: neither for their headers nor for their bodies', async () => {
    const [headers, body] = await Promise.all([
      talk('POST /sql HTTP/1.1\r\nHost: x\r\n'),
      talk(`${head(100)}\r\n{"query":`),
    ]);
    expect([headers, body].map((text) => text.slice(0, 12))).toEqual(['HTTP/1.1 408', 'HTTP/1.1 408']);
  });

  it('are no more than may be', async () => {
    const held = await Promise.all(Array.from({ length: MAX_CONNECTIONS }, open));
    expect(await talk('GET / HTTP/1.1\r\nHost: x\r\n\r\n')).toMatch(/^HTTP\/1.1 503 /);
    for (const socket of held) socket.destroy();
    await Promise.all(held.map((socket) => new Promise((resolve) => socket.once('close', resolve))));
    while (true) {
      const answer = await post({ query: 'select 1' }).catch(() => undefined);
      if (answer?.status === 200) break;
      await systemClock.sleep(10);
    }
  });

  it('hold no memory for bodies that never come whole', async () => {
    const held = await Promise.all(
      Array.from({ length: 12 }, async () => {
        const socket = await open();
        socket.write(`${head(900_000)}\r\n${'x'.repeat(899_999)}`);
        return socket;
      }),
    );
    expect(await Promise.any(held.map(firstWords))).toMatch(/^HTTP\/1.1 503 /);
    expect(world.budget.held).toBeLessThanOrEqual(8 * MAX_BYTES);
    for (const socket of held) socket.destroy();
    while (world.budget.held > 0) await systemClock.sleep(5);
  });

  const firstWords = (socket: Socket): Promise<string> =>
    new Promise((resolve) => socket.once('data', (chunk) => resolve(chunk.toString('latin1'))));
});
