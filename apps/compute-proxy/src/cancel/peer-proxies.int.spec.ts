/** Two proxies, each with its listener and its keys, that find each other in a real Redis; one serves sessions of a real Postgres. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import type { Client, ClientConfig } from 'pg';
import { grpcServer } from '@coppice/contracts';
import { type LeaseStore, RedisConnection, RedisLeaseStore } from '@coppice/leases';
import { writeCancel } from '@coppice/postgres';
import { type Part, silentLog, systemClock, systemRandom } from '@coppice/service-kit';
import { redisUnavailable, startRedis, type TestRedis, testIdentities } from '@coppice/testing';
import { LoginLimits } from '../limits/login-limits';
import { ENDPOINT, type PooledProxy, startPooledProxy } from '../pool/pooled-proxy.fixture';
import { GENEROUS, TestProxy } from '../proxy.fixture';
import { tlsOf } from '../tls/certificate';
import { makePem } from '../tls/pem.fixture';
import { CancelKeys, type CancelKey } from './cancel-keys';
import { cancelService } from './cancel-service';
import { leaseNameOf } from './own-number';
import { PeerProxies } from './peer-proxies';

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
const ADDRESS_LOGINS = 100;

/** What a proxy has for this, with counts of what it asked of others. */
class Peer {
  readonly keys: CancelKeys;
  readonly peers: PeerProxies;
  readonly address: string;
  /** Of addresses, in Redis. */
  lookUps = 0;
  /** Calls of other proxies. */
  calls = 0;
  readonly #parts: readonly Part[];

  constructor(redis: TestRedis, directory: string, name: string) {
    this.address = `unix:${join(directory, name)}`;
    const security = testIdentities.security('compute-proxy');
    this.peers = new PeerProxies({
      openLeases: async () => {
        const connection = await RedisConnection.open({ url: redis.url, log: silentLog() });
        return {
          store: this.#counted(new RedisLeaseStore(connection)),
          close: () => connection.close(),
        };
      },
      address: this.address,
      security,
      limits: new LoginLimits({ ...GENEROUS, addressLogins: ADDRESS_LOGINS }, systemClock),
      random: systemRandom,
      clock: systemClock,
      log: silentLog(),
    });
    this.keys = new CancelKeys(systemRandom, this.peers);
    const served = cancelService(this.keys);
    const { cancel } = served.handlers as unknown as { cancel: (key: CancelKey) => Promise<unknown> };
    const handlers = {
      cancel: (key: CancelKey) => {
        this.calls += 1;
        return cancel(key);
      },
    } as never;
    const services = [{ ...served, handlers }];
    this.#parts = [
      grpcServer({ address: this.address, services, log: silentLog(), security }),
      this.peers.asPart(),
    ];
  }

  #counted(store: RedisLeaseStore): LeaseStore {
    return {
      acquire: (...args) => store.acquire(...args),
      renew: (...args) => store.renew(...args),
      release: (...args) => store.release(...args),
      holderOf: (...args) => {
        this.lookUps += 1;
        return store.holderOf(...args);
      },
    };
  }

  async start(): Promise<this> {
    for (const part of this.#parts) await part.start();
    while (this.peers.ownNumber === 0) await systemClock.sleep(5);
    return this;
  }

  async stop(): Promise<void> {
    for (const part of [...this.#parts].reverse()) await part.stop();
  }
}

const reason = redisUnavailable();
if (reason !== undefined) console.warn(`Requests to cancel across proxies are not tested: ${reason}`);

(reason === undefined ? describe : describe.skip)('a request to cancel', () => {
  const directory = mkdtempSync(join(tmpdir(), 'peers-'));
  let redis: TestRedis;
  let [serving, receiving]: Peer[] = [];
  let world: PooledProxy;
  let other: TestProxy;

  beforeAll(async () => {
    const pem = makePem(directory);
    const tls = tlsOf({ cert: readFileSync(pem.cert), key: readFileSync(pem.key) });
    redis = await startRedis();
    serving = await new Peer(redis, directory, 'a').start();
    receiving = await new Peer(redis, directory, 'b').start();
    world = await startPooledProxy(5, { cancelKeys: serving.keys, tls: () => tls });
    other = await TestProxy.start({ cancelKeys: receiving.keys });
  });
  afterAll(async () => {
    await other?.stop();
    await world?.stop();
    await receiving?.stop();
    await serving?.stop();
    await redis?.dispose();
    rmSync(directory, { recursive: true, force: true });
  });

  const DIRECT: ClientConfig = { options: `endpoint=${ENDPOINT}` };
  const keyOf = (client: Client): CancelKey => {
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    const secret = Buffer.alloc(4);
    secret.writeInt32BE(secretKey);
    return { pid: processID, secret };
  };
  const closed = (socket: Socket): Promise<void> =>
    new Promise((resolve) => socket.on('error', () => undefined).once('close', () => resolve()));
  /** Resolves when the proxy has closed, which is when it has done what it can. */
  const ask = async (port: number, { pid, secret }: CancelKey, over: 'plain' | 'TLS' = 'plain') => {
    const plain = connect(port, '127.0.0.1');
    if (over === 'plain') {
      plain.write(writeCancel(pid, secret));
      return closed(plain.resume());
    }
    plain.write(SSL_REQUEST);
    await new Promise((resolve) => plain.once('data', resolve));
    const secure = connectTls({ socket: plain, rejectUnauthorized: false });
    secure.write(writeCancel(pid, secret));
    return closed(secure.resume());
  };
  /** A statement that is under way, and what becomes of it. */
  const sleeping = async (client: Client, seconds = 30): Promise<{ readonly outcome: Promise<string> }> => {
    const outcome = client.query(`select pg_sleep(${seconds})`).then(
      () => 'slept',
      (error: { code: string }) => error.code,
    );
    const active = `select count(*)::int as n from pg_stat_activity where query ~ 'pg_sleep' and state = 'active' and pid <> pg_backend_pid()`;
    while ((await world.postgres.query<{ n: number }>(active))[0]!.n === 0) await systemClock.sleep(10);
    return { outcome };
  };

  it.each([
    ['of a session', DIRECT, 'plain'],
    ['of a session over TLS', { ...DIRECT, ssl: { rejectUnauthorized: false } }, 'TLS'],
    ['of a pooled session', {}, 'plain'],
    ['of a pooled session over TLS', { ssl: { rejectUnauthorized: false } }, 'TLS'],
  ] as const)('%s may come to any proxy', async (_, config, over) => {
    const client = await world.connect(config);
    const { outcome } = await sleeping(client);
    await ask(other.port, keyOf(client), over);
    expect(await outcome).toBe('57014');
    expect((await client.query('select 1 as a')).rows).toEqual([{ a: 1 }]);
    await client.end();
  });

  it('with a wrong key cancels nothing, and its cost is bounded', async () => {
    const client = await world.connect(DIRECT);
    const { outcome } = await sleeping(client, 3);
    const { pid, secret } = keyOf(client);
    const before = { lookUps: receiving!.lookUps, calls: serving!.calls };
    const guesses = Array.from({ length: 2_000 }, (_, n) => {
      const guess = Buffer.from(secret);
      guess[n % 4]! ^= 1 + (n % 255);
      return receiving!.keys.cancel({ pid, secret: guess }, 'a stranger');
    });
    await Promise.all(guesses);
    await ask(other.port, { pid, secret: Buffer.concat([secret, secret]) });
    await ask(other.port, { pid: pid ^ 1, secret });
    expect(await outcome).toBe('slept');
    expect(receiving!.lookUps - before.lookUps).toBeLessThanOrEqual(3);
    // A full bucket, what came in meanwhile, and the last one.
    const calls = serving!.calls - before.calls;
    expect(calls).toBeGreaterThan(0);
    expect(calls).toBeLessThanOrEqual(ADDRESS_LOGINS * 10 + ADDRESS_LOGINS * 3 + 1);
    await client.end();
  });

  it('is passed on once at most, whatever Redis says', async () => {
    const connection = await RedisConnection.open({ url: redis.url, log: silentLog() });
    const store = new RedisLeaseStore(connection);
    const { ownNumber } = serving!.peers;
    const free = [1, 2, 3, 4].filter((n) => n !== ownNumber && n !== receiving!.peers.ownNumber);
    const before = [serving!.calls, receiving!.calls, serving!.lookUps];
    // One number leads to the other proxy, which has another number; one leads back to the one that is asked.
    await store.acquire(leaseNameOf(free[0]!), `${serving!.address} gone`, 10_000);
    await store.acquire(leaseNameOf(free[1]!), `${receiving!.address} gone`, 10_000);
    for (const number of [free[0]!, free[1]!])
      await ask(other.port, { pid: number << 20, secret: Buffer.alloc(4) });
    expect([serving!.calls, receiving!.calls, serving!.lookUps]).toEqual([
      before[0]! + 1,
      before[1]! + 1,
      before[2]!,
    ]);
    connection.close();
  });

  it('for a proxy that is not there is over soon', async () => {
    const connection = await RedisConnection.open({ url: redis.url, log: silentLog() });
    const store = new RedisLeaseStore(connection);
    await store.acquire(leaseNameOf(2_047), `unix:${join(directory, 'nobody')} gone`, 10_000);
    const from = systemClock.monotonic();
    await ask(other.port, { pid: 2_047 << 20, secret: Buffer.alloc(4) });
    await ask(other.port, { pid: 2_046 << 20, secret: Buffer.alloc(4) });
    expect(systemClock.monotonic() - from).toBeLessThan(8_000);
    connection.close();
  });

  it('works at the proxy that serves the session while Redis is away, and everywhere once it is back, empty', async () => {
    const client = await world.connect(DIRECT);
    expect(keyOf(client).pid >>> 20).toBe(serving!.peers.ownNumber);
    await redis.kill9();
    // What it knows of the number is out of date.
    await systemClock.sleep(3_100);
    const here = await sleeping(client);
    await ask(other.port, keyOf(client));
    await ask(world.port, keyOf(client));
    expect(await here.outcome).toBe('57014');
    await redis.start();
    const anywhere = await sleeping(client);
    const over = anywhere.outcome.then(() => true);
    for (let isOver = false; !isOver; ) {
      await ask(other.port, keyOf(client));
      isOver = await Promise.race([over, systemClock.sleep(200).then(() => false)]);
    }
    expect(await anywhere.outcome).toBe('57014');
    await client.end();
  });
});
