/** Sessions over WebSocket, by the unmodified driver of Neon and by hand. */
import { Client, neonConfig, Pool } from '@neondatabase/serverless';
import type { Socket } from 'node:net';
import WebSocket from 'ws';
import { systemClock } from '@coppice/service-kit';
import { firstRows } from '../testing/first-rows';
import { ENDPOINT, HttpWorld, MAX_BYTES } from '../testing/http-world';

let world: HttpWorld;
beforeAll(async () => {
  world = await HttpWorld.start();
  neonConfig.webSocketConstructor = WebSocket;
  neonConfig.useSecureWebSocket = false;
  neonConfig.wsProxy = () => `127.0.0.1:${world.port}/v2`;
});
afterAll(() => world?.stop());

const connected = async (uri = world.uri(), change: (client: Client) => void = () => undefined) => {
  const client = new Client(uri);
  change(client);
  client.on('error', () => undefined);
  await client.connect();
  // It does not wait for the login to have gone well.
  await client.query('select');
  return client;
};

const pidOf = async (client: Client): Promise<number> =>
  (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]!.pid;

describe('the driver', () => {
  it('runs an interactive transaction, its first query sent with its password', async () => {
    const pool = new Pool({ connectionString: world.uri() });
    const client = await pool.connect();
    await client.query('begin');
    await client.query('create table kept (a int)');
    await client.query('savepoint s');
    await expect(client.query('select 1 / 0')).rejects.toMatchObject({ code: '22012' });
    await client.query('rollback to s');
    expect((await client.query('insert into kept values ($1) returning a', [5])).rows).toEqual([{ a: 5 }]);
    await client.query('commit');
    client.release();
    expect((await pool.query('select * from kept')).rows).toEqual([{ a: 5 }]);
    await pool.end();
  });

  it('waits for the question before it sends its password, when told to', async () => {
    const client = await connected(undefined, (c) => (c.neonConfig.pipelineConnect = false));
    expect((await client.query('select current_user as u')).rows).toEqual([{ u: 'app' }]);
    await client.end();
  });

  it.each(['/v1?address=ep.example:5432', '/v2', '/', '/any/path'])('may come by %s', async (path) => {
    const client = await connected(
      undefined,
      (c) => (c.neonConfig.wsProxy = () => `127.0.0.1:${world.port}${path}`),
    );
    expect((await client.query('select 1 as a')).rows).toEqual([{ a: 1 }]);
    await client.end();
  });

  it('names the endpoint in the host, in the options or before the password', async () => {
    class Named extends WebSocket {
      constructor(url: string) {
        super(url, { headers: { host: `${ENDPOINT}.db.test:443` } });
      }
    }
    const plain = `postgresql://app:s3cret@127.0.0.1/postgres`;
    const byHost = await connected(plain, (c) => (c.neonConfig.webSocketConstructor = Named));
    expect((await byHost.query('select 1 as a')).rows).toEqual([{ a: 1 }]);
    await byHost.end();
    const byPassword = await connected(plain.replace('s3cret', `endpoint%3D${ENDPOINT}%3Bs3cret`));
    await byPassword.end();
    await expect(connected(plain)).rejects.toThrow('does not name an endpoint');
  });

  it('is told why it does not get in, and wakes nothing', async () => {
    const wakes = world.wakes;
    await expect(connected(world.uri('wrong'))).rejects.toMatchObject({ code: '28P01' });
    await expect(connected(world.uri('s3cret', 'app', 'ep-no-no-1'))).rejects.toThrow('does not exist');
    expect(world.wakes).toBe(wakes);
  });

  it('hears notifications', async () => {
    const [listening, telling] = [await connected(), await connected()];
    const heard = new Promise((resolve) => listening.on('notification', resolve));
    await listening.query('listen news');
    await telling.query("notify news, 'hello'");
    expect(await heard).toMatchObject({ channel: 'news', payload: 'hello' });
    await Promise.all([listening.end(), telling.end()]);
  });

  it('sends and gets what fills many frames', async () => {
    const client = await connected();
    const sent = 'é'.repeat(300_000);
    const { rows } = await client.query('select $1::text as back, repeat($2, 2000000) as more', [sent, 'x']);
    expect([rows[0].back === sent, rows[0].more.length]).toEqual([true, 2_000_000]);
    while (world.budget.held > 0) await systemClock.sleep(5);
    await client.end();
  });

  it('is told when its credential ends', async () => {
    const client = await connected();
    const ended = new Promise((resolve) => client.on('error', resolve));
    await world.endCredential();
    expect(await ended).toMatchObject({ code: '57P01' });
  });
});

describe('a pooled session', () => {
  const pooled = (): Promise<Client> => connected(world.uri('s3cret', 'app', `${ENDPOINT}-pooler`));

  it('has a server for a transaction, and shares it after', async () => {
    const [one, other] = [await pooled(), await pooled()];
    await one.query('create table pooled_kept (a int)');
    await one.query('begin');
    const pid = await pidOf(one);
    await one.query('insert into pooled_kept values (1)');
    expect(await pidOf(other)).not.toBe(pid);
    expect((await other.query('select * from pooled_kept')).rows).toEqual([]);
    expect(await pidOf(one)).toBe(pid);
    await one.query('rollback');
    await one.query("begin; insert into pooled_kept values (2); set local work_mem = '7MB'; commit");
    expect((await other.query('select * from pooled_kept')).rows).toEqual([{ a: 2 }]);
    await Promise.all([one.end(), other.end()]);
  });

  it('keeps its prepared statements, whatever server it gets', async () => {
    const [one, other] = [await pooled(), await pooled()];
    const statement = (n: number) => ({ name: 'twice', text: 'select $1::int * 2 as n', values: [n] });
    expect((await one.query(statement(1))).rows).toEqual([{ n: 2 }]);
    // Its server is taken by another for a while.
    await other.query('begin');
    const taken = await pidOf(other);
    await one.query('begin');
    expect((await one.query(statement(2))).rows).toEqual([{ n: 4 }]);
    expect(await pidOf(one)).not.toBe(taken);
    await other.query('commit');
    await one.query('commit');
    expect((await other.query({ ...statement(4), text: 'select $1::int * 3 as n' })).rows).toEqual([
      { n: 12 },
    ]);
    expect((await one.query(statement(3))).rows).toEqual([{ n: 6 }]);
    await Promise.all([one.end(), other.end()]);
  });

  it('does not notice that its compute sleeps', async () => {
    const client = await pooled();
    const statement = { name: 'more', text: 'select $1::int + 1 as n' };
    expect((await client.query({ ...statement, values: [1] })).rows).toEqual([{ n: 2 }]);
    const before = { pid: await pidOf(client), wakes: world.wakes };
    await world.suspend();
    expect((await client.query({ ...statement, values: [2] })).rows).toEqual([{ n: 3 }]);
    expect(await pidOf(client)).not.toBe(before.pid);
    expect(world.wakes).toBeGreaterThan(before.wakes);
    await client.end();
  });
});

describe('a connection', () => {
  const open = (): Promise<WebSocket> =>
    new Promise((resolve, reject) => {
      const ws = new WebSocket(`ws://127.0.0.1:${world.port}/v2`);
      ws.once('open', () => resolve(ws)).on('error', reject);
    });
  const closeCode = (ws: WebSocket): Promise<number> => new Promise((resolve) => ws.once('close', resolve));

  it('holds back a server whose client does not read', async () => {
    const client = await connected();
    const { ws } = client.neonConfig as unknown as { ws: WebSocket };
    const pid = await pidOf(client);
    const rows = client.query("select repeat('x', 1000) as x from generate_series(1, 30000)");
    await systemClock.sleep(20);
    ws.pause();
    const event = `select wait_event from pg_stat_activity where pid = ${pid}`;
    const waits = async () => (await world.postgres.query<{ wait_event: string }>(event))[0]!.wait_event;
    // Until what lies between them is full.
    for (let full = 0; full < 10; full = (await waits()) === 'ClientWrite' ? full + 1 : 0)
      await systemClock.sleep(30);
    const before = process.memoryUsage();
    await systemClock.sleep(500);
    expect(await waits()).toBe('ClientWrite');
    expect(process.memoryUsage().arrayBuffers - before.arrayBuffers).toBeLessThan(1_000_000);
    ws.resume();
    expect((await rows).rows).toHaveLength(30_000);
    await client.end();
  });

  it('with text, or with a message that is too large, is closed', async () => {
    const text = await open();
    text.send('hello');
    expect([1003, 1006]).toContain(await closeCode(text));
    const large = await open();
    large.on('error', () => undefined).send(Buffer.alloc(MAX_BYTES + 1));
    expect([1006, 1009]).toContain(await closeCode(large));
  });

  it('that says nothing is closed, before a login soon, and after one when it answers no ping', async () => {
    expect([1005, 1006]).toContain(await closeCode(await open()));
    const client = await connected();
    const { ws } = client.neonConfig as unknown as { ws: { _socket: { pause(): void } } };
    const gone = new Promise((resolve) => client.on('error', resolve).on('end', resolve as () => void));
    const pid = await pidOf(client);
    ws._socket.pause();
    await noServer(pid);
    (ws as unknown as WebSocket).terminate();
    await gone;
  });

  it('is served on while it answers pings', async () => {
    const client = await connected();
    await systemClock.sleep(2_500);
    expect((await client.query('select 1 as a')).rows).toEqual([{ a: 1 }]);
    await client.end();
  });

  it('that closes in the middle of a query ends its session', async () => {
    const client = await connected();
    const pid = await pidOf(client);
    client.on('error', () => undefined);
    const query = client.query('select pg_sleep(0.3)').catch(() => 'gone');
    const { ws } = client.neonConfig as unknown as { ws: WebSocket };
    await systemClock.sleep(50);
    ws.terminate();
    expect(await query).toBe('gone');
    await noServer(pid);
  });

  it('is measured to its first row when a compute was started for it', async () => {
    const before = await firstRows();
    world.isStarted = true;
    await (await connected()).end();
    world.isStarted = false;
    await (await connected()).end();
    expect((await firstRows()).count).toBe(before.count + 1);
  });

  it('that is one too many with a message that never ends is cut off, logged in as it is', async () => {
    const clients = await Promise.all(Array.from({ length: 12 }, () => connected()));
    const sockets = clients.map((client) => (client.neonConfig as unknown as { ws: WebSocket }).ws);
    let closed = 0;
    for (const ws of sockets) ws.once('close', () => (closed += 1));
    const unfinished = Buffer.alloc(14 + MAX_BYTES * 0.9);
    unfinished.writeUInt16BE(0x82ff, 0);
    unfinished.writeBigUInt64BE(BigInt(MAX_BYTES), 2);
    for (const ws of sockets) (ws as unknown as { _socket: Socket })._socket.write(unfinished);
    while (closed === 0) await systemClock.sleep(10);
    await systemClock.sleep(200);
    expect(closed).toBeLessThanOrEqual(4);
    expect(world.budget.held).toBeGreaterThan(6 * MAX_BYTES);
    for (const ws of sockets) ws.terminate();
  });

  it('gives back what it held of the memory for logins', async () => {
    while (world.budget.held > 0) await systemClock.sleep(5);
  });
});

/** Its server has ended. Those of pooled sessions are kept for a while. */
async function noServer(pid: number): Promise<void> {
  const count = `select count(*)::int as n from pg_stat_activity where pid = ${pid}`;
  while ((await world.postgres.query<{ n: number }>(count))[0]!.n > 0) await systemClock.sleep(20);
}
