import type { Client } from 'pg';
import { systemClock } from '@coppice/service-kit';
import { type PooledProxy, startPooledProxy, WireClient } from './pooled-proxy.fixture';
import { wire } from './wire-messages.fixture';

const SERVERS = 5;

describe('pooled clients whose server goes', () => {
  let proxy: PooledProxy;
  const open: { end?: () => Promise<void>; socket?: { destroy: () => void } }[] = [];

  beforeAll(async () => {
    proxy = await startPooledProxy(SERVERS);
  });
  afterAll(() => proxy.stop());
  beforeEach(() => proxy.postgres.query('drop table if exists done; create table done (a int)'));
  afterEach(async () => {
    for (const client of open.splice(0)) {
      client.socket?.destroy();
      await client.end?.().catch(() => undefined);
    }
  });
  const connect = async (): Promise<Client> => {
    const client = await proxy.connect();
    open.push({ end: () => client.end() });
    return client;
  };
  const done = async (): Promise<number[]> =>
    (await proxy.postgres.query<{ a: number }>('select a from done order by a')).map(({ a }) => a);
  /** Until a statement with this in its text runs. */
  const running = async (text: string): Promise<void> => {
    for (let rows: object[] = []; rows.length === 0; await systemClock.sleep(5))
      rows = await proxy.postgres.query(
        `select from pg_stat_activity where state = 'active' and query like '%${text}%' and pid <> pg_backend_pid()`,
      );
  };
  const terminate = (text: string): Promise<object[]> =>
    proxy.postgres.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where query like '%${text}%' and pid <> pg_backend_pid()`,
    );

  it('notice nothing of a suspend, idle or with a query on its way', async () => {
    const clients = await Promise.all(Array.from({ length: 3 * SERVERS }, connect));
    const prepared = { name: 'n', text: 'select $1::int as n' };
    for (const client of clients) await client.query({ ...prepared, values: [1] });
    const wakesBefore = proxy.wakes();
    for (let round = 1; round <= 4; round += 1) {
      const stopped = proxy.suspend();
      if (round % 2 === 0) await stopped;
      const answers = await Promise.all(
        clients.map((client) =>
          round <= 2 ? client.query({ ...prepared, values: [round] }) : client.query(`select ${round} as n`),
        ),
      );
      expect(answers.map(({ rows }) => rows[0].n as number)).toEqual(clients.map(() => round));
      await stopped;
    }
    expect(proxy.wakes() - wakesBefore).toBeGreaterThanOrEqual(2);
  });
  it('do not notice a server that ends in one breath with its answer', async () => {
    const client = await connect();
    const answer = client.query('select pg_sleep(0.05), pg_backend_pid() as pid');
    await systemClock.sleep(20);
    const end = proxy.postgres.query(
      "select pg_sleep(0.2), pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_sleep(0.05)%'",
    );
    await systemClock.sleep(10);
    // The proxy is this process: it reads both at once.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
    const { pid } = (await answer).rows[0];
    await end;
    const [next] = (await client.query('select pg_backend_pid() as pid')).rows;
    expect(next.pid).not.toBe(pid);
  });
  it('have an insert done once, however it meets a suspend', async () => {
    const clients = await Promise.all(Array.from({ length: SERVERS }, connect));
    let told = 0;
    const told57P01: number[] = [];
    for (let round = 0; round < 6; round += 1) {
      await Promise.all(clients.map((client) => client.query('select 1')));
      const stopped = proxy.suspend();
      await systemClock.sleep(round);
      for (const client of [...clients]) {
        told += 1;
        const a = told;
        await client.query(`insert into done values (${a})`).catch(() => {
          told57P01.push(a);
          clients.splice(clients.indexOf(client), 1);
        });
      }
      await stopped;
      while (clients.length < SERVERS) clients.push(await connect());
    }
    const all = await done();
    expect(new Set(all).size).toBe(all.length);
    for (let a = 1; a <= told; a += 1) if (!told57P01.includes(a)) expect(all).toContain(a);
    // Nearly all meet an idle server.
    expect(told57P01.length).toBeLessThan(told / 2);
  });
  it('have a query that a server had read half of run by another', async () => {
    const client = await WireClient.connect(proxy.port);
    open.push(client);
    const query = wire.query(`insert into done values (7) /* ${'x'.repeat(3_000)} */`);
    client.send(query.subarray(0, 2_000));
    const waits = "select from pg_stat_activity where usename = 'app' and state = 'idle' and query = ''";
    while ((await proxy.postgres.query(waits)).length === 0) await systemClock.sleep(5);
    // Until the answer to what comes before it is here.
    await systemClock.sleep(50);
    await proxy.suspend();
    await systemClock.sleep(50);
    client.send(query.subarray(2_000));
    expect(await client.ready()).toEqual(['C:INSERT 0 1', 'Z:I']);
    expect(await done()).toEqual([7]);
  });
  it('wake nothing for half a query', async () => {
    const client = await WireClient.connect(proxy.port);
    open.push(client);
    const query = wire.query(`insert into done values (6) /* ${'x'.repeat(3_000)} */`);
    client.send(query.subarray(0, 2_000));
    await systemClock.sleep(100);
    const wakes = proxy.wakes();
    await proxy.suspend();
    await systemClock.sleep(100);
    expect(proxy.wakes()).toBe(wakes);
    client.send(query.subarray(2_000));
    expect(await client.ready()).toEqual(['C:INSERT 0 1', 'Z:I']);
  });
  it('find their unnamed statement on another server as it was', async () => {
    const client = await WireClient.connect(proxy.port);
    open.push(client);
    client.send(wire.parse('', 'select 1001'), wire.bind(''), wire.execute(), wire.sync());
    expect(await client.ready()).toContain('D:1001');
    const [row] = await proxy.postgres.query<{ pid: number }>(
      "select pid from pg_stat_activity where query = 'select 1001'",
    );
    process.kill(row!.pid, 'SIGSTOP');
    client.send(wire.bind(''), wire.execute(), wire.sync());
    client.send(wire.parse('', 'select 1002'), wire.bind(''), wire.execute(), wire.sync());
    await systemClock.sleep(50);
    process.kill(row!.pid, 'SIGTERM');
    process.kill(row!.pid, 'SIGCONT');
    expect(await client.ready()).toContain('D:1001');
    expect(await client.ready()).toContain('D:1002');
  });
  it('have no query run twice when the next one was sent in part', async () => {
    await proxy.postgres.query(`create or replace procedure slowly() language plpgsql as
      $$ begin insert into done values (8); commit; perform pg_sleep(20); end $$`);
    const client = await WireClient.connect(proxy.port);
    open.push(client);
    const next = wire.query(`insert into done values (9) /* ${'x'.repeat(3_000)} */`);
    client.send(wire.query('call slowly()'), next.subarray(0, 2_000));
    await running('call slowly');
    await proxy.suspend();
    expect(await client.ready()).toEqual(['E:57P01', 'closed']);
    await (await connect()).query('select 1');
    expect(await done()).toEqual([8]);
  });
  it('have a procedure that commits halfway run once, and hear that it ended', async () => {
    await proxy.postgres.query(`create or replace procedure halfway() language plpgsql as
      $$ begin insert into done values (1); commit; perform pg_sleep(20); insert into done values (2); end $$`);
    const client = await connect();
    const call = client.query('call halfway()').catch((error: { code: string }) => error.code);
    await running('call halfway');
    await proxy.suspend();
    expect(await call).toBe('57P01');
    await (await connect()).query('select 1');
    expect(await done()).toEqual([1]);
  });
  it('that end their own server are told so, and make no others end', async () => {
    const client = await connect();
    const before = proxy.opens();
    await expect(
      client.query('do $$ begin perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(5); end $$'),
    ).rejects.toMatchObject({ code: '57P01' });
    expect(proxy.opens() - before).toBeLessThanOrEqual(1);
  });
  it('hear that a statement was terminated, by either protocol', async () => {
    const client = await connect();
    const simple = client
      .query('insert into done select 1 from pg_sleep(20)')
      .catch((error: { code: string }) => error.code);
    await running('1 from pg_sleep(20)');
    await terminate('1 from pg_sleep(20)');
    expect(await simple).toBe('57P01');
    const wired = await WireClient.connect(proxy.port);
    open.push(wired);
    wired.send(wire.parse('', 'select pg_sleep(20), 2'), wire.bind(''), wire.execute(), wire.sync());
    await running('pg_sleep(20), 2');
    await terminate('pg_sleep(20), 2');
    expect(await wired.ready()).toEqual(['1', '2', 'E:57P01', 'closed']);
  });
});
