/**
 * Control-plane and reaper are killed at each step of what takes several: whatever was under way is finished by whoever comes
 * next, within seconds, and the services agree again.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FULL, AgentClient, eventually, expectNoDifferences, type Json, sql, Stack } from '@coppice/testing';
import { Client } from 'pg';

jest.setTimeout(600_000);

/** How soon everything must be whole after a kill. */
const WHOLE_AFTER_MS = 10_000;

/** The nightly form cuts everywhere; else the last of the points of one kind stands for them. */
const cuts = (...points: readonly string[]): readonly string[] => (FULL ? points : points.slice(-1));

describe('a step that is cut short', () => {
  let stack: Stack;
  let client: AgentClient;
  let project: string;
  const failpoints = mkdtempSync(join(tmpdir(), 'coppice-failpoints-'));

  beforeAll(async () => {
    stack = await Stack.start({
      COPPICE_FAILPOINT_DIRECTORY: failpoints,
      COPPICE_REAPER_END_EVERY_MS: '300',
      COPPICE_REAPER_SWEEP_EVERY_MS: '300',
      COPPICE_REAPER_BRAKE_FLOOR: '100000',
    });
    const { api } = stack.file;
    const quotas = { projects: 100, branches: 500, computes: 20 };
    const made: Json = await stack.ask('POST', '/agents', { agent: { name: 'killed', quotas } });
    client = new AgentClient({ api, key: made.api_key.key, deadlineMs: 60_000 });
    project = (await client.ask('POST', '/projects', { project: {} })).project.id;
  });
  afterAll(async () => {
    await stack?.remove();
    rmSync(failpoints, { recursive: true });
  });

  const arm = (point: string): void => writeFileSync(join(failpoints, point), 'kill');
  const wasHit = (point: string): boolean => existsSync(join(failpoints, `${point}.hit`));
  const of = (branch: string, rest = ''): string => `/projects/${project}/branches/${branch}${rest}`;
  const suspend = (b: Branch): Promise<Json> =>
    client.ask('POST', `/projects/${project}/endpoints/${b.endpoint}/suspend`);
  const rows = async (b: Branch): Promise<number> =>
    (await sql(b.uri, 'select count(*)::int as n from t'))[0]!['n'];

  interface Branch {
    readonly id: string;
    readonly endpoint: string;
    readonly uri: string;
  }

  async function fork(parent?: string): Promise<Branch> {
    const made: Json = await client.ask('POST', `/projects/${project}/branches`, {
      branch: parent === undefined ? {} : { parent_id: parent },
      endpoints: [{ type: 'read_write' }],
    });
    return {
      id: made.branch.id,
      endpoint: made.endpoints[0].id,
      uri: made.connection_uris[0].connection_uri,
    };
  }

  /** A branch with three rows, whose compute runs. */
  async function written(parent?: string): Promise<Branch> {
    const branch = await fork(parent);
    await sql(
      branch.uri,
      'create table if not exists t (n int)',
      'truncate t',
      'insert into t values (1), (2), (3)',
    );
    return branch;
  }

  /** Runs `work` with the point armed; it must be hit. Clients see the kill as something to try again, at most. */
  async function cutAt(point: string, work: () => Promise<unknown>): Promise<void> {
    arm(point);
    await work();
    await eventually(30_000, async () => expect(wasHit(point)).toBe(true));
    rmSync(join(failpoints, `${point}.hit`));
  }

  /** The services agree within the time that is allowed, the check itself aside. */
  async function expectWhole(): Promise<void> {
    const began = performance.now();
    await eventually(WHOLE_AFTER_MS, () => expectNoDifferences(stack, 0));
    await client.ask('GET', `/projects/${project}`);
    expect(performance.now() - began).toBeLessThan(WHOLE_AFTER_MS + 5_000);
  }

  it.each(cuts('create-branch-before-commit', 'create-branch-after-commit'))(
    'of a creation: %s',
    async (point) => {
      const before = (await client.ask('GET', `/projects/${project}/branches/count`)).count;
      let made!: Branch;
      await cutAt(point, async () => (made = await fork()));
      expect((await client.ask('GET', `/projects/${project}/branches/count`)).count).toBe(before + 1);
      expect(await sql(made.uri, 'select 1 as one')).toEqual([{ one: 1 }]);
      await expectWhole();
    },
  );

  it('of a project: create-project-after-commit', async () => {
    let made: Json;
    await cutAt('create-project-after-commit', async () => {
      made = await client.ask('POST', '/projects', { project: { name: 'once' } });
    });
    expect(await sql(made.connection_uris[0].connection_uri, 'select 1 as one')).toEqual([{ one: 1 }]);
    const { projects } = await client.ask('GET', '/projects?search=once');
    expect(projects).toHaveLength(1);
    await expectWhole();
  });

  it.each(cuts('start-before-running', 'start-before-agent'))('of a start: %s', async (point) => {
    const branch = await written();
    await suspend(branch);
    await cutAt(point, () => eventually(40_000, () => sql(branch.uri, 'select 1')));
    expect(await rows(branch)).toBe(3);
    await expectWhole();
  });

  it.each(cuts('start-before-agent', 'start-before-running'))(
    'of a start that nobody waits for any more: %s',
    async (point) => {
      const branch = await written();
      await suspend(branch);
      await cutAt(point, () => sql(branch.uri, 'select 1').catch(() => undefined));
      await expectWhole();
      expect(await rows(branch)).toBe(3);
    },
  );

  it.each(cuts('suspend-before-agent', 'suspend-before-stopped'))('of a suspend: %s', async (point) => {
    const branch = await written();
    await cutAt(point, () => suspend(branch));
    await expectWhole();
    expect(await rows(branch)).toBe(3);
  });

  it('of a deletion of a subtree: delete-before-ending-computes', async () => {
    const top = await written();
    const under = await written(top.id);
    await cutAt('delete-before-ending-computes', () => client.ask('DELETE', of(top.id, '?children=delete')));
    await expectWhole();
    await client.ask('POST', of(top.id, '/recover'));
    expect(await rows(under)).toBe(3);
    await expectWhole();
  });

  it('of a restore in place: restore-before-ending-computes', async () => {
    const branch = await written();
    await client.ask('POST', of(branch.id, '/checkpoints'), { checkpoint: { name: 'three' } });
    await sql(branch.uri, 'insert into t values (4)');
    await cutAt('restore-before-ending-computes', () =>
      client.ask('POST', of(branch.id, '/restore'), { source_checkpoint: 'three' }),
    );
    await eventually(WHOLE_AFTER_MS, async () => expect(await rows(branch)).toBe(3));
    await expectWhole();
  });

  it.each(['purge-after-bar', 'purge-after-safekeepers', 'purge-after-pageserver'])(
    'of a purge: %s',
    async (point) => {
      const branch = await written();
      const child = await written(branch.id);
      await cutAt(point, () => client.ask('DELETE', of(child.id, '?hard_delete=true')));
      await expectWhole();
      expect(await rows(branch)).toBe(3);
    },
  );

  it('by the death of a reaper that suspends', async () => {
    const branches = await Promise.all([written(), written(), written()]);
    for (const { endpoint } of branches) {
      const change = { endpoint: { suspend_timeout_seconds: 1 } };
      await client.ask('PATCH', `/projects/${project}/endpoints/${endpoint}`, change);
      await killReaper();
    }
    for (const { endpoint } of branches)
      await eventually(30_000, async () => {
        const found: Json = await client.ask('GET', `/projects/${project}/endpoints/${endpoint}`);
        expect(found.endpoint.current_state).toBe('idle');
      });
    await expectWhole();
    expect(await Promise.all(branches.map(rows))).toEqual([3, 3, 3]);
  });

  it('by the death of a reaper that removes', async () => {
    const branches = await Promise.all([written(), written(), written()]);
    for (const { id } of branches) {
      await client.ask('DELETE', of(id, '?hard_delete=true'));
      await killReaper();
    }
    await eventually(30_000, async () => expect(await left(branches)).toBe(0));
    await expectWhole();
  });

  /** Kills the reaper that runs; one that was just killed is waited for. */
  async function killReaper(): Promise<void> {
    await sleep(300);
    await eventually(10_000, async () => stack.kill9('reaper'));
  }

  /** How many of these branches, and of their timelines, the metadata still has. */
  async function left(branches: readonly Branch[]): Promise<number> {
    const client = new Client({
      host: `${stack.file.runDirectory}/meta`,
      user: 'coppice',
      database: 'postgres',
    });
    await client.connect();
    try {
      const { rows: found } = await client.query<{ n: number }>(
        `select ((select count(*) from branches where id = any($1)) + (select count(*) from timelines where purge_due_at is not null))::int as n`,
        [branches.map((b) => b.id)],
      );
      return found[0]!.n;
    } finally {
      await client.end();
    }
  }
});
