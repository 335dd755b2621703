import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { type AgentLimits, NO_COUNTS } from '@coppice/quotas';
import { silentLog } from '@coppice/service-kit';
import { redisUnavailable, startRedis, type TestRedis } from '@coppice/testing';
import type { QuotaStore, Reservation } from '../quota-store';
import { leaseStoreSuite } from '../suite/lease-store-suite';
import { quotaStoreSuite } from '../suite/quota-store-suite';
import { RedisConnection } from './redis-connection';
import { RedisLeaseStore } from './redis-lease-store';
import { RedisQuotaStore } from './redis-quota-store';

const reason = redisUnavailable();
if (reason !== undefined) console.warn(`Redis is not tested: ${reason}`);

(reason === undefined ? describe : describe.skip)('on a Redis server', () => {
  const servers: TestRedis[] = [];
  const connections: RedisConnection[] = [];

  async function server(persistent = false): Promise<TestRedis> {
    const started = await startRedis({ persistent });
    servers.push(started);
    return started;
  }
  async function connect(url: string): Promise<RedisConnection> {
    const connection = await RedisConnection.open({ url, log: silentLog() });
    connections.push(connection);
    return connection;
  }
  const quotas = async (of: TestRedis): Promise<RedisQuotaStore> =>
    new RedisQuotaStore(await connect(of.url));

  afterAll(async () => {
    for (const connection of connections) connection.close();
    await Promise.all(servers.map((one) => one.dispose()));
  });

  const wait = (ms: number): Promise<void> => sleep(ms);
  quotaStoreSuite('redis', async () => ({ store: await quotas(await server()), wait }));
  leaseStoreSuite('redis', async () => ({
    store: new RedisLeaseStore(await connect((await server()).url)),
    wait,
  }));

  it('two control-planes share one limit', async () => {
    const redis = await server();
    const stores = [await quotas(redis), await quotas(redis)];
    await stores[0]!.rebuild('a', NO_COUNTS, 1);
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, i) => stores[i % 2]!.reserve('a', { branches: 1 }, { branches: 50 })),
    );
    expect(answers.filter(({ kind }) => kind === 'reserved')).toHaveLength(50);
  });

  it('every reservation settles within 2 s when the server is killed and comes back empty', async () => {
    const redis = await server();
    const store = await quotas(redis);
    await store.rebuild('a', NO_COUNTS, 1);
    const limits: AgentLimits = { branches: 50 };
    const startedAt = performance.now();
    const calls: Promise<Reservation['kind'] | 'unavailable'>[] = [];
    let slowestMs = 0;
    const call = async (): Promise<Reservation['kind'] | 'unavailable'> => {
      const sentAt = performance.now();
      const answer = await settled(store.reserve('a', { branches: 1 }, limits));
      slowestMs = Math.max(slowestMs, performance.now() - sentAt);
      return answer;
    };
    for (let i = 0; i < 200; i++) {
      calls.push(call());
      if (i === 60) void redis.restart();
      if (i % 20 === 19) await sleep(3);
    }
    const answers = await Promise.all(calls);
    expect(performance.now() - startedAt).toBeLessThan(2_000);
    expect(slowestMs).toBeLessThan(1_000);
    const reserved = answers.filter((answer) => answer === 'reserved').length;
    expect(reserved).toBeGreaterThan(0);
    expect(reserved).toBeLessThanOrEqual(50);
    expect(answers).toContain('unavailable');
    expect(await untilAnswers(store)).toEqual({ kind: 'unknown' });
  });

  it('fails within a second while the server is gone, hangs, or was never there', async () => {
    const redis = await server();
    const store = await quotas(redis);
    const leases = new RedisLeaseStore(await connect(redis.url));
    await store.rebuild('a', NO_COUNTS, 1);
    const bothFail = async (): Promise<void> => {
      const startedAt = performance.now();
      await Promise.all([
        expect(store.reserve('a', { branches: 1 }, {})).rejects.toMatchObject({
          kind: 'Unavailable',
          code: 'quota-store-unavailable',
        }),
        expect(leases.acquire('n', 'h', 1_000)).rejects.toMatchObject({
          kind: 'Unavailable',
          code: 'lease-store-unavailable',
        }),
      ]);
      expect(performance.now() - startedAt).toBeLessThan(1_000);
    };
    redis.pause();
    await bothFail();
    redis.resume();
    await untilAnswers(store);
    await redis.kill9();
    await bothFail();
    const startedAt = performance.now();
    const orphan = new RedisQuotaStore(await connect(redis.url));
    await expect(orphan.reserve('a', {}, {})).rejects.toMatchObject({ code: 'quota-store-unavailable' });
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    await redis.start();
    expect(await untilAnswers(orphan)).toEqual({ kind: 'unknown' });
  });

  it('does not trust counters that a restarted server brings back, nor lets them keep newer ones out', async () => {
    const redis = await server(true);
    const store = await quotas(redis);
    await store.rebuild('a', { ...NO_COUNTS, branches: 3 }, 5);
    await redis.restart();
    expect(await untilAnswers(store)).toEqual({ kind: 'unknown' });
    expect(await store.read('a')).toBeUndefined();
    expect(await store.rebuild('a', NO_COUNTS, 5)).toBe(5);
    expect(await store.reserve('a', { branches: 1 }, {})).toEqual({ kind: 'unknown' });
    expect(await store.rebuild('a', NO_COUNTS, 6)).toBe(6);
    expect(await store.reserve('a', { branches: 1 }, {})).toEqual({ kind: 'reserved', epoch: 6 });
  });

  it('does not trust the counters of a server that was a replica in between, though it never restarted', async () => {
    const [one, other] = [await server(), await server()];
    const store = await quotas(one);
    await store.rebuild('a', NO_COUNTS, 5);
    await replicate(other, one);
    await promote(other);
    await replicate(one, other);
    await promote(one);
    expect(await untilAnswers(store)).toEqual({ kind: 'unknown' });
    expect(await store.rebuild('a', NO_COUNTS, 5)).toBe(5);
    expect(await store.rebuild('a', NO_COUNTS, 6)).toBe(6);
    expect(await store.reserve('a', { branches: 1 }, {})).toEqual({ kind: 'reserved', epoch: 6 });
  });

  it('gives growing tokens over the loss of all data', async () => {
    const redis = await server();
    const leases = new RedisLeaseStore(await connect(redis.url));
    const first = await leases.acquire('n', 'a', 60_000);
    await redis.restart();
    const second = await untilDone(() => leases.acquire('n', 'b', 60_000));
    expect(second).toBeGreaterThan(first!);
  });
});

async function replicate(replica: TestRedis, primary: TestRedis): Promise<void> {
  await withClient(replica, async (client) => {
    await client.replicaof('127.0.0.1', primary.port);
    for (let tries = 0; !(await client.info('replication')).includes('master_link_status:up'); tries++) {
      if (tries === 400) throw new Error('the replica does not follow');
      await sleep(20);
    }
  });
}

async function promote(server: TestRedis): Promise<void> {
  await withClient(server, (client) => client.replicaof('NO', 'ONE'));
}

async function withClient(server: TestRedis, work: (client: Redis) => Promise<unknown>): Promise<void> {
  const client = new Redis(server.url);
  await work(client).finally(() => client.disconnect());
}

async function settled(call: Promise<Reservation>): Promise<Reservation['kind'] | 'unavailable'> {
  return call.then(
    ({ kind }) => kind,
    (error: { code?: string }) => {
      if (error.code !== 'quota-store-unavailable') throw error;
      return 'unavailable' as const;
    },
  );
}

function untilAnswers(store: QuotaStore): Promise<Reservation> {
  return untilDone(() => store.reserve('a', {}, {}));
}

async function untilDone<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (tries === 200) throw error;
      await sleep(20);
    }
  }
}
