/**
 * Many agents at once, each growing a tree until its limit, while the counters' Redis and the control-plane are killed: no limit
 * is passed by one, nobody is answered with a failure of ours, nothing hangs, and nothing is left in the end.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Semaphore } from '@coppice/service-kit';
import {
  FULL,
  AgentClient,
  eventually,
  expectNoDifferences,
  redisUnavailable,
  Stack,
  startRedis,
  type TestRedis,
} from '@coppice/testing';
import { Client } from 'pg';
import { AgentLife } from './src/swarm/agent-life';

const [AGENTS, DEEP, WIDE, WRITERS] = FULL ? [200, 10, 10, 20] : [24, 4, 4, 3];
/** Two forks fewer than each agent asks for. */
const MAX_BRANCHES = 1 + DEEP + WIDE - 2;
const REQUESTS_AT_ONCE = 64;
const COMPUTES_AT_ONCE = FULL ? 10 : 4;
/** One request with all its repetitions, over a restart of the control-plane. */
const DEADLINE_MS = 60_000;

jest.setTimeout(FULL ? 1_800_000 : 400_000);

describe('a swarm of agents', () => {
  let stack: Stack;
  let redis: TestRedis;
  let metadata: Client;
  const lives: AgentLife[] = [];
  const agentIds: string[] = [];

  beforeAll(async () => {
    const unavailable = redisUnavailable();
    if (unavailable !== undefined) throw new Error(unavailable);
    redis = await startRedis();
    stack = await Stack.start({
      COPPICE_REDIS_URL: redis.url,
      COPPICE_REAPER_END_EVERY_MS: '500',
      // Whole fleets end here.
      COPPICE_REAPER_BRAKE_FLOOR: '1000000',
      COPPICE_REAPER_END_PER_MINUTE: '1000000',
    });
    metadata = new Client({ host: `${stack.file.runDirectory}/meta`, user: 'coppice', database: 'postgres' });
    await metadata.connect();
    const requests = new Semaphore(REQUESTS_AT_ONCE);
    const computes = new Semaphore(COMPUTES_AT_ONCE);
    const turns = {
      api: <T>(work: () => Promise<T>) => requests.run(work),
      compute: <T>(work: () => Promise<T>) => computes.run(work),
    };
    for (let n = 0; n < AGENTS; n++) {
      const made = await stack.ask('POST', '/agents', {
        agent: { name: `swarm-${n}`, quotas: { projects: 1, branches: MAX_BRANCHES, computes: 1 } },
      });
      agentIds.push(made.agent.id);
      const client = new AgentClient({ api: stack.file.api, key: made.api_key.key, deadlineMs: DEADLINE_MS });
      const plan = { deep: DEEP, wide: WIDE, maxBranches: MAX_BRANCHES, writes: n < WRITERS };
      lives.push(new AgentLife(client, plan, turns));
    }
  });
  afterAll(async () => {
    await metadata?.end();
    await stack?.remove();
    await redis?.dispose();
  });

  /** Agents that have more of anything than they may, by the metadata itself. */
  async function overLimit(): Promise<unknown[]> {
    const { rows } = await metadata.query(`
      select a.id, count(distinct p.id) as projects, count(b.id) as branches,
        (select count(*) from computes c where c.agent_id = a.id and c.state in ('starting', 'running', 'stopping')) as computes
      from agents a join projects p on p.agent_id = a.id and p.deleted_at is null join branches b on b.project_id = p.id and b.deleted_at is null
      where a.max_branches is not null group by a.id
      having count(b.id) > a.max_branches or count(distinct p.id) > a.max_projects
        or (select count(*) from computes c where c.agent_id = a.id and c.state in ('starting', 'running', 'stopping')) > a.max_computes`);
    return rows;
  }

  /** Looks for agents over a limit while `work` goes on, and kills what `kills` says at its share of it. */
  async function watched(work: Promise<unknown>): Promise<number> {
    let done = false;
    void work.finally(() => (done = true)).catch(() => undefined);
    let looks = 0;
    for (; !done; looks++) {
      expect(await overLimit()).toEqual([]);
      await sleep(100);
    }
    await work;
    return looks;
  }

  it('grows to its limits and not beyond, while Redis and the control-plane die', async () => {
    let grown = 0;
    const work = Promise.all(lives.map((life) => life.grow().then(() => (grown += 1))));
    const kills = (async () => {
      await eventually(DEADLINE_MS, async () => expect(grown).toBeGreaterThan(AGENTS / 8));
      await redis.kill9();
      await sleep(1_500);
      await redis.start();
      await eventually(DEADLINE_MS, async () => expect(grown).toBeGreaterThan(AGENTS / 3));
      stack.kill9('control-plane');
    })();
    const looks = await watched(Promise.all([work, kills]));
    const refused = lives.reduce((sum, life) => sum + life.refused, 0);
    const repeated = lives.reduce((sum, life) => sum + life.client.repeated, 0);
    const slowest = Math.max(...lives.map((life) => life.client.slowestMs));
    console.log(
      `${AGENTS} agents, ${AGENTS * MAX_BRANCHES} branches, ${refused} refused; ${repeated} requests repeated, the slowest took ${Math.round(slowest)} ms; ${looks} looks at the limits`,
    );
    expect(refused).toBe(AGENTS * 2);
    expect(repeated).toBeGreaterThan(0);
    const { rows } = await metadata.query<{ n: number }>(
      'select count(*)::int as n from branches where deleted_at is null',
    );
    expect(rows[0]!.n).toBe(AGENTS * MAX_BRANCHES);
  });

  it('writes, undoes, and sees its sizes', async () => {
    await watched(Promise.all(lives.slice(0, WRITERS).map((life) => life.writeAndUndo())));
  });

  it('deletes subtrees and has them back', async () => {
    await watched(Promise.all(lives.map((life) => life.pruneAndRecover())));
  });

  it('has exactly what its counters say', async () => {
    await expectNoDifferences(stack, 20);
    for (const id of agentIds) {
      const { agent } = await stack.ask('GET', `/agents/${id}`);
      expect(agent.usage).toMatchObject({ projects: 1, branches: MAX_BRANCHES, computes: 0 });
    }
  });

  it('leaves nothing behind', async () => {
    await Promise.all(lives.map((life) => life.end()));
    await eventually(120_000, async () => {
      const { rows } = await metadata.query<Record<string, number>>(`
        select (select count(*) from projects)::int as projects, (select count(*) from branches)::int as branches,
          (select count(*) from timelines)::int as timelines, (select count(*) from endpoints)::int as endpoints`);
      expect(rows[0]).toEqual({ projects: 0, branches: 0, timelines: 1, endpoints: 0 });
    });
    await expectNoDifferences(stack, 20);
    for (const id of agentIds) {
      const { agent } = await stack.ask('GET', `/agents/${id}`);
      expect(agent.usage).toMatchObject({ projects: 0, branches: 0, computes: 0 });
    }
  });
});
