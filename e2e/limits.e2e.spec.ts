/** Hard limits of agents and projects, and the accounts behind them, on a real stack whose control-plane is killed now and then. */
import { computeAgentContract } from '@coppice/contracts';
import {
  addressOf,
  eventually,
  type Json,
  leave,
  sharedStack,
  sql,
  type Stack,
  stackIdentities,
  withClient,
} from '@coppice/testing';
import type { Client } from 'pg';

jest.setTimeout(240_000);

const MIB = 1024 * 1024;
const STORAGE_BYTES = 24 * MIB;
const DISK_FULL = '53100';
const LIMIT_REACHED = '53400';

let stack: Stack;
beforeAll(async () => {
  stack = await sharedStack();
});
afterAll(() => stack && leave(stack));

interface Agent {
  readonly id: string;
  readonly ask: (method: string, path: string, body?: unknown, headers?: object) => Promise<Json>;
  readonly request: (method: string, path: string) => Promise<{ status: number; body: Json }>;
  readonly limit: (quotas: object) => Promise<Json>;
}
async function agentWith(quotas: object): Promise<Agent> {
  const { agent, api_key: key } = await stack.ask('POST', '/agents', { agent: { quotas } });
  const request = (method: string, path: string, body?: unknown, headers: object = {}) =>
    stack.request(method, path, body, { authorization: `Bearer ${key.key}`, ...headers });
  return {
    id: agent.id,
    request,
    ask: async (method, path, body, headers) => {
      const answer = await request(method, path, body, headers);
      if (answer.status >= 300)
        throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
      return answer.body;
    },
    limit: (changed) => stack.ask('PATCH', `/agents/${agent.id}`, { agent: { quotas: changed } }),
  };
}

interface Place {
  readonly project: string;
  readonly branch: string;
  readonly endpoint: string;
  readonly uri: string;
}
const placeOf = (made: Json): Place => ({
  project: made.branch.project_id,
  branch: made.branch.id,
  endpoint: made.endpoints[0].id,
  uri: made.connection_uris[0].connection_uri,
});
const newProject = async (agent: Agent, project: object = {}): Promise<Place> =>
  placeOf(await agent.ask('POST', '/projects', { project }));
const fork = async (agent: Agent, { project }: Place, headers: object = {}): Promise<Place> => {
  const body = { branch: {}, endpoints: [{ type: 'read_write', autoscaling_limit_min_cu: 1 }] };
  return placeOf(await agent.ask('POST', `/projects/${project}/branches`, body, headers));
};
const suspend = (agent: Agent, { project, endpoint }: Place): Promise<Json> =>
  agent.ask('POST', `/projects/${project}/endpoints/${endpoint}/suspend`);

interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}
const refusal = (work: Promise<unknown>): Promise<Refusal> =>
  work.then(
    () => ({ code: 'done', message: '', hint: '' }),
    ({ code, message, hint }: Refusal) => ({ code, message, hint }),
  );

/** About a mebibyte that does not compress well. */
const insertMib = (client: Client): Promise<unknown> =>
  client.query(`insert into filled select g, (select string_agg(md5(g || '-' || i || '-' || random()), '') from generate_series(1, 30) i)
    from generate_series(1, 950) g`);

/** Inserts until Postgres refuses; answers with why, and how large the table got, MiB. */
async function fill(client: Client): Promise<Refusal & { readonly mib: number }> {
  for (let n = 0; n < 200; n++) {
    const refused = await refusal(insertMib(client));
    if (refused.code === 'done') continue;
    const { rows } = await client.query("select pg_total_relation_size('filled')::int as n");
    return { ...refused, mib: Math.round(rows[0].n / MIB) };
  }
  throw new Error('200 MiB were inserted without a refusal');
}
const killControlPlane = async (): Promise<void> => {
  stack.kill9('control-plane');
  await eventually(30_000, () => stack.ask('GET', '/users/me'));
};

describe('a limit on storage', () => {
  it('stops inserts near it, whoever is killed, until room is made or it is raised', async () => {
    const agent = await agentWith({ storage_bytes: STORAGE_BYTES });
    const place = await newProject(agent);
    await withClient(place.uri, async (client) => {
      await client.query('create table filled (a int, b text)');
      const first = await fill(client);
      expect(first).toMatchObject({ code: DISK_FULL, message: /No space left on device/ });
      expect(Math.abs(first.mib - STORAGE_BYTES / MIB)).toBeLessThanOrEqual(2);
      await killControlPlane();
      expect((await fill(client)).mib).toBeLessThanOrEqual(first.mib + 1);
      expect((await client.query('select count(*)::int as n from filled')).rows[0].n).toBeGreaterThan(0);
      await client.query('truncate filled');
      await insertMib(client);
      await agent.limit({ storage_bytes: 2 * STORAGE_BYTES });
      await eventually(5_000, async () => {
        expect((await fill(client)).mib).toBeGreaterThan((2 * STORAGE_BYTES) / MIB - 3);
      });
    });
    await suspend(agent, place);
    await withClient(place.uri, async (client) => {
      const woken = await fill(client);
      expect(woken.code).toBe(DISK_FULL);
      expect(Math.abs(woken.mib - (2 * STORAGE_BYTES) / MIB)).toBeLessThanOrEqual(3);
      await client.query('delete from filled');
      await client.query('vacuum filled');
      await insertMib(client);
    });
  });

  it('of each branch of a project is its logical size', async () => {
    const agent = await agentWith({});
    const bytes = 48 * MIB;
    const place = await newProject(agent, { settings: { quota: { logical_size_bytes: bytes } } });
    await withClient(place.uri, async (client) => {
      await client.query('create table filled (a int, b text)');
      expect((await fill(client)).code).toBe(DISK_FULL);
      const size = async (): Promise<number> =>
        (await client.query('select sum(pg_database_size(oid))::int as n from pg_database')).rows[0].n;
      // Databases count maps of free space as well, which the limit does not.
      expect(await size()).toBeLessThan(bytes * 1.2);
      expect(await size()).toBeGreaterThan(bytes * 0.9);
      await agent.ask('PATCH', `/projects/${place.project}`, {
        project: { settings: { quota: { logical_size_bytes: 2 * bytes } } },
      });
      await eventually(5_000, () => insertMib(client));
    });
  });
});

describe('a limit on computes', () => {
  it('refuses the one beyond it in words for a Postgres client, and counts anew after a kill', async () => {
    const agent = await agentWith({ computes: 2 });
    const one = await newProject(agent);
    const [two, three] = [await fork(agent, one), await fork(agent, one)];
    for (const place of [one, two]) await sql(place.uri, 'select 1');
    for (const kill of [false, true]) {
      if (kill) await killControlPlane();
      const refused = await refusal(sql(three.uri, 'select 1'));
      expect(refused).toMatchObject({ code: LIMIT_REACHED });
      expect(refused.message).toMatch(/2 of at most 2 running computes/);
      expect(refused.hint).toMatch(/Suspend a compute/);
    }
    expect((await stack.ask('GET', `/agents/${agent.id}`)).agent.usage.computes).toBe(2);
    await suspend(agent, one);
    expect(await sql(three.uri, 'select 1 as a')).toEqual([{ a: 1 }]);
    expect((await refusal(sql(one.uri, 'select 1'))).code).toBe(LIMIT_REACHED);
  });
});

describe('a limit on compute seconds', () => {
  it('suspends what runs soon after it is reached, and says so to who connects', async () => {
    const agent = await agentWith({ compute_seconds: 1 });
    const place = await newProject(agent);
    const ended = withClient(place.uri, (client) => client.query('select pg_sleep(60)'));
    const since = Date.now();
    await expect(ended).rejects.toThrow();
    // A quarter of a unit runs for 4 s until then; the accounts are up to 12 s behind.
    expect(Date.now() - since).toBeLessThan(4_000 + 15_000);
    const refused = await eventually(5_000, async () => {
      const found = await refusal(sql(place.uri, 'select 1'));
      expect(found.code).toBe(LIMIT_REACHED);
      return found;
    });
    expect(refused.message).toMatch(/of its 1 compute seconds of this month/);
    expect(refused.hint).toMatch(/Computes start again at/);
    await agent.limit({ compute_seconds: null });
    expect(await sql(place.uri, 'select 1 as a')).toEqual([{ a: 1 }]);
  });
});

describe('the sizes of an endpoint', () => {
  it('are those of its compute as soon as they are changed, and its sessions go on', async () => {
    const agent = await agentWith({});
    const { project, endpoint, uri } = await newProject(agent);
    const node = stackIdentities(stack).everyone(computeAgentContract, addressOf(stack, 'agent'));
    const size = async () =>
      (await node.listComputes({})).computes.find((c) => c.endpointId === endpoint && c.state === 'running')!
        .size;
    const change = (autoscaling_limit_min_cu: number, autoscaling_limit_max_cu: number) =>
      agent.ask('PATCH', `/projects/${project}/endpoints/${endpoint}`, {
        endpoint: { autoscaling_limit_min_cu, autoscaling_limit_max_cu },
      });
    await withClient(uri, async (client) => {
      const pid = async () => (await client.query('select pg_backend_pid() as pid')).rows;
      const before = await pid();
      expect(await size()).toMatchObject({ minUnits: 0.25, maxUnits: 1 });
      await change(0.5, 0.5);
      expect(await size()).toMatchObject({ units: 0.5, minUnits: 0.5, maxUnits: 0.5 });
      await change(1, 4);
      expect(await size()).toMatchObject({ units: 1, minUnits: 1, maxUnits: 4 });
      expect(await pid()).toEqual(before);
    });
    node.close();
  });
});

describe('a limit on requests', () => {
  it('answers 429 beyond it, and soon lets more in', async () => {
    const agent = await agentWith({ requests_per_second: 5 });
    const answers = await Promise.all(Array.from({ length: 30 }, () => agent.request('GET', '/projects')));
    const refused = answers.filter((a) => a.status === 429);
    expect(refused.length).toBeGreaterThanOrEqual(15);
    expect(refused[0]!.body).toMatchObject({ code: 'rate-limit-exceeded' });
    expect(refused[0]!.body.message).toMatch(/more than 5 requests per second.*Send the request again/);
    await eventually(2_000, async () => expect((await agent.request('GET', '/projects')).status).toBe(200));
  });
});

describe('accounts', () => {
  it('of branches, tasks and the agent move with use, and add up', async () => {
    const agent = await agentWith({});
    const root = await newProject(agent);
    const task = { 'x-task-id': 'job-1/step-2' };
    const places = [await fork(agent, root, task), await fork(agent, root, { 'x-task-id': 'job-1' })];
    for (const place of places)
      await sql(
        place.uri,
        'create table accounts (id int primary key, balance int, filler text)',
        "insert into accounts select g, 0, repeat('x', 80) from generate_series(1, 20000) g",
        ...Array.from(
          { length: 50 },
          (_, i) => `update accounts set balance = balance + 1 where id = ${i + 1}`,
        ),
        'select * from accounts limit 5000',
        // Answers tell whole seconds.
        'select pg_sleep(2)',
      );
    const hour = 3_600_000;
    const span = new URLSearchParams({
      from: new Date(Date.now() - hour).toISOString(),
      to: new Date(Date.now() + hour).toISOString(),
      granularity: 'daily',
    });
    const names = [
      'compute_unit_seconds',
      'written_bytes',
      'logical_bytes',
      'public_network_transfer_bytes',
    ] as const;
    type Use = Record<(typeof names)[number], number>;
    const none: Use = {
      compute_unit_seconds: 0,
      written_bytes: 0,
      logical_bytes: 0,
      public_network_transfer_bytes: 0,
    };
    const plus = (a: Use, b: Use): Use =>
      Object.fromEntries(names.map((n) => [n, a[n] + b[n]])) as unknown as Use;
    const plain = (answer: Json): Use =>
      answer.consumption
        .map((f: Json) => ({ ...f, public_network_transfer_bytes: f.transferred_bytes }))
        .reduce(plus, none);
    const read = async () => {
      const asked = `${span}&project_ids=${root.project}&metrics=${names.join(',')}`;
      const { branches } = await agent.ask('GET', `/consumption_history/v2/branches?${asked}`);
      const of = new Map<string, Use>(
        branches.map((b: Json) => [
          b.branch_id,
          b.periods
            .flatMap((p: Json) => p.consumption)
            .map((f: Json) => Object.fromEntries(f.metrics.map((m: Json) => [m.metric_name, m.value])))
            .reduce(plus, none),
        ]),
      );
      return {
        of,
        agent: plain(await agent.ask('GET', `/agents/${agent.id}/consumption?${span}`)),
        job: plain(await agent.ask('GET', `/tasks/job-1/consumption?${span}`)),
        step: plain(
          await agent.ask('GET', `/tasks/${encodeURIComponent('job-1/step-2')}/consumption?${span}`),
        ),
      };
    };
    for (const place of [...places]) await suspend(agent, place);
    const close = (a: Use, b: Use): void => {
      for (const name of names) expect(Math.abs(a[name] - b[name])).toBeLessThanOrEqual(2);
    };
    await eventually(45_000, async () => {
      const { of, ...sums } = await read();
      const uses = places.map((p) => of.get(p.branch) ?? none);
      for (const use of uses) for (const name of names) expect([name, use[name] > 0]).toEqual([name, true]);
      for (const use of uses) {
        expect(use.written_bytes).toBeGreaterThan(2 * MIB);
        expect(use.public_network_transfer_bytes).toBeGreaterThan(5_000 * 90);
      }
      close(sums.job, uses.reduce(plus, none));
      close(sums.step, uses[0]!);
      close(sums.agent, [...of.values()].reduce(plus, none));
      const { branch } = await agent.ask('GET', `/projects/${root.project}/branches/${places[0]!.branch}`);
      expect([branch.logical_size > 0, branch.written_data_bytes > 2 * MIB]).toEqual([true, true]);
    });
  });
});
