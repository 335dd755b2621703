import { setTimeout as sleep } from 'node:timers/promises';
import { Pool, type PoolClient } from 'pg';
import { NO_COUNTS } from '@coppice/quotas';
import { CoppiceError, silentLog } from '@coppice/service-kit';
import {
  redisUnavailable,
  startPostgres,
  startRedis,
  type TestPostgres,
  type TestRedis,
} from '@coppice/testing';
import { type Inserted, QuotaLedger, type QuotaTruth } from './quota-ledger';
import { RedisConnection } from './redis/redis-connection';
import { RedisQuotaStore } from './redis/redis-quota-store';

const reason = redisUnavailable();
if (reason !== undefined) console.warn(`the ledger is not tested on Redis: ${reason}`);

const AGENT = 'a';
const LIMITS = { branches: 8 };
const CONTROL_PLANES = 3;
const TASKS = 6;
const RUN_MS = 4_000;

(reason === undefined ? describe : describe.skip)('a ledger over real Postgres and Redis', () => {
  let postgres: TestPostgres;
  let redis: TestRedis;
  let pool: Pool;
  const connections: RedisConnection[] = [];

  beforeAll(async () => {
    [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
    pool = new Pool({ ...postgres.connectionConfig(), max: 24 });
    await postgres.query(`
      create table agents (id text primary key, quota_epoch bigint not null);
      create table branches (id bigint generated always as identity primary key, agent_id text not null);
      insert into agents values ('${AGENT}', 1)`);
  });
  afterAll(async () => {
    for (const connection of connections) connection.close();
    await pool.end();
    await Promise.all([postgres.dispose(), redis.dispose()]);
  });

  async function transaction<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    const client = await pool.connect();
    try {
      await client.query('begin');
      const result = await work(client);
      await client.query('commit');
      return result;
    } catch (error) {
      await client.query('rollback');
      throw error;
    } finally {
      client.release();
    }
  }

  const lockedEpoch = async (client: PoolClient): Promise<number> => {
    const { rows } = await client.query('select quota_epoch from agents where id = $1 for share', [AGENT]);
    return Number(rows[0].quota_epoch);
  };

  const count = async (client: Pool | PoolClient): Promise<number> => {
    const { rows } = await client.query('select count(*)::int n from branches where agent_id = $1', [AGENT]);
    return rows[0].n as number;
  };

  const insert = (epoch: number): Promise<Inserted<void>> =>
    transaction(async (client) => {
      if ((await lockedEpoch(client)) !== epoch) return { kind: 'stale' };
      await client.query('insert into branches (agent_id) values ($1)', [AGENT]);
      return { kind: 'committed', value: undefined };
    });

  const remove = (): Promise<{ removed: number; epoch: number }> =>
    transaction(async (client) => {
      const epoch = await lockedEpoch(client);
      const { rowCount } = await client.query(
        'delete from branches where id in (select id from branches where agent_id = $1 limit 1 for update skip locked)',
        [AGENT],
      );
      return { removed: rowCount ?? 0, epoch };
    });

  const truth: QuotaTruth = {
    advance: (agentId, above) =>
      transaction(async (client) => {
        const { rows } = await client.query(
          'update agents set quota_epoch = greatest(quota_epoch, $2::bigint) + 1 where id = $1 returning quota_epoch',
          [agentId, above],
        );
        return {
          epoch: Number(rows[0].quota_epoch),
          counts: { ...NO_COUNTS, branches: await count(client) },
        };
      }),
  };

  async function ledger(): Promise<QuotaLedger> {
    const connection = await RedisConnection.open({ url: redis.url, log: silentLog() });
    connections.push(connection);
    return new QuotaLedger({ store: new RedisQuotaStore(connection), truth, log: silentLog() });
  }

  it('never lets an agent have one more than its limit while Redis is killed again and again', async () => {
    const ledgers = await Promise.all(Array.from({ length: CONTROL_PLANES }, ledger));
    const seen = { committed: 0, exceeded: 0, unavailable: 0, most: 0, restarts: 0 };
    let running = true;

    const task = async (of: QuotaLedger, creates: boolean): Promise<void> => {
      while (running) {
        try {
          if (creates) {
            await of.spend({ agentId: AGENT, wants: { branches: 1 }, limits: LIMITS }, insert);
            seen.committed++;
          } else {
            const { removed, epoch } = await remove();
            await of.giveBack(AGENT, { branches: removed }, epoch);
          }
        } catch (error) {
          if (!(error instanceof CoppiceError)) throw error;
          if (error.kind === 'QuotaExceeded') seen.exceeded++;
          else seen.unavailable++;
          await sleep(2);
        }
      }
    };
    const watch = async (): Promise<void> => {
      while (running) {
        seen.most = Math.max(seen.most, await count(pool));
        await sleep(1);
      }
    };
    const kill = async (): Promise<void> => {
      while (running) {
        await sleep(150);
        await redis.restart();
        seen.restarts++;
      }
    };

    const tasks = ledgers.flatMap((one) => Array.from({ length: TASKS }, (_, i) => task(one, i % 3 !== 0)));
    const all = Promise.all([...tasks, watch(), kill()]);
    // A busy machine needs longer to see everything.
    const enough = (): boolean => seen.committed > 50 && seen.exceeded > 0 && seen.restarts > 3;
    const watched = async (): Promise<void> => {
      await sleep(RUN_MS);
      for (let left = 300; left > 0 && !enough(); left--) await sleep(100);
    };
    await Promise.race([watched(), all]);
    running = false;
    await all;

    expect(seen.most).toBeLessThanOrEqual(LIMITS.branches);
    expect(seen.committed).toBeGreaterThan(50);
    expect(seen.exceeded).toBeGreaterThan(0);
    expect(seen.restarts).toBeGreaterThan(3);

    const fresh = await ledger();
    const counted = await fresh.recount(AGENT);
    expect(counted?.branches).toBe(await count(pool));
  });

  it('200 creations at once on counters that are lost make exactly what the limit allows', async () => {
    await postgres.query('delete from branches');
    await redis.restart();
    const ledgers = await Promise.all(Array.from({ length: CONTROL_PLANES }, ledger));
    const results = await Promise.allSettled(
      Array.from({ length: 200 }, (_, i) =>
        ledgers[i % CONTROL_PLANES]!.spend(
          { agentId: AGENT, wants: { branches: 1 }, limits: LIMITS },
          insert,
        ),
      ),
    );
    const codes = results.flatMap((r) => (r.status === 'rejected' ? [(r.reason as CoppiceError).code] : []));
    expect(new Set(codes)).toEqual(new Set(['quota-exceeded']));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(LIMITS.branches);
    expect(await count(pool)).toBe(LIMITS.branches);
  });
});
