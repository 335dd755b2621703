import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { CoppiceError } from '@coppice/service-kit';
import type { TestPostgres } from '@coppice/testing';
import { fingerprint, mixedOrigin, soundness } from './mixed-data.fixture';
import { buildInterposer, SparseCluster, type SparseClusterOptions } from './sparse-cluster.fixture';

let library: string;
let origin: TestPostgres;
let cluster: SparseCluster;

beforeAll(async () => {
  library = await buildInterposer();
  origin = await mixedOrigin();
});
afterAll(() => origin?.dispose());
afterEach(() => cluster?.dispose());

async function start(options: Partial<SparseClusterOptions> = {}): Promise<void> {
  cluster = await SparseCluster.start(origin, {
    library,
    ...options,
    settings: { autovacuum: false, ...options.settings },
  });
}

async function sql(text: string): Promise<Record<string, unknown>[]> {
  let rows: Record<string, unknown>[] = [];
  for (const statement of text.split(/;\s+/)) rows = await cluster.server.query(statement);
  return rows;
}

describe('a server without its page source', () => {
  it('reports an error that names the block, never zeros, and recovers when the source is back', async () => {
    await start();
    await sql('select count(*)::int as n from docs');
    await cluster.stopSource();
    await expect(sql('select count(*) from tail')).rejects.toMatchObject({
      code: '58030',
      message: expect.stringMatching(/could not read blocks? .*Input\/output error/),
    });
    expect(await cluster.server.log()).toMatch(
      /coppice: block \d+ of base\/5\/\d+ could not be fetched: (No such file or directory|Connection refused|Connection reset by peer)/,
    );
    expect(await sql('select count(*)::int as n from docs')).toEqual([{ n: 20000 }]);
    await cluster.restartSource();
    expect(await sql('select count(*)::int as n from tail')).toEqual([{ n: 20000 }]);
  });

  it('gives what the source says as the reason, and serves the blocks before the bad one', async () => {
    await start();
    const path = (await sql(`select pg_relation_filepath('tail') as path`))[0]?.['path'];
    cluster.pages.failOn = (file, block) =>
      file === path && block === 300
        ? new CoppiceError('Corrupt', 'bad-page', 'page 300 is damaged')
        : undefined;
    await expect(sql('select count(*) from tail')).rejects.toMatchObject({
      code: '58030',
      message: expect.stringMatching(/could not read blocks? (\d+..)?300/),
    });
    expect(await cluster.server.log()).toContain(
      `coppice: block 300 of ${path} could not be fetched: page 300 is damaged`,
    );
    expect(await sql('select count(*)::int as n from tail where ctid < $$(300,0)$$')).toEqual([
      { n: expect.any(Number) },
    ]);
    cluster.pages.failOn = undefined;
    expect(await sql('select count(*)::int as n from tail')).toEqual([{ n: 20000 }]);
  });

  it('does not start with a state file of another version', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'state-'));
    await writeFile(join(directory, 'state'), Buffer.alloc(8192));
    const run = promisify(execFile)('/bin/true', [], {
      env: { LD_PRELOAD: library, COPPICE_STATE: join(directory, 'state') },
    });
    await expect(run).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('it is not of this version; the server does not start'),
    });
    await rm(directory, { recursive: true });
  });
});

describe('many processes', () => {
  it('fetch a block once, but for the odd announcement that crosses a fetch, however slow it comes', async () => {
    await start();
    cluster.pages.delayMs = () => 20;
    const clients = await Promise.all(Array.from({ length: 16 }, () => cluster.server.connect()));
    const counts = await Promise.all(
      clients.map((c) =>
        c.query(`select count(*)::int as n from docs where big is null or length(big) > 100`),
      ),
    );
    expect(new Set(counts.map((c) => c.rows[0].n))).toEqual(new Set([20000]));
    const asked = [...cluster.pages.asked.values()];
    expect(Math.max(...asked)).toBeLessThanOrEqual(2);
    expect(asked.filter((times) => times > 1).length).toBeLessThan(asked.length / 50);
    await Promise.all(clients.map((c) => c.end()));
  });

  it('read and write at random without losing a row', async () => {
    await start({
      settings: { shared_buffers: '2MB', bgwriter_delay: '10ms', max_wal_size: '32MB', min_wal_size: '32MB' },
    });
    cluster.pages.delayMs = () => (Math.random() < 0.3 ? Math.random() * 10 : 0);
    await sql('alter table pgbench_accounts set (fillfactor = 100)');
    const clients = await Promise.all(Array.from({ length: 16 }, () => cluster.server.connect()));
    const added = new Map<number, number>();
    let seed = 4711;
    const random = (below: number): number => (seed = (seed * 1103515245 + 12345) % 2147483648) % below;
    await Promise.all(
      clients.map(async (client, i) => {
        for (let round = 0; round < 150; round++) {
          const id = 1 + random(300000);
          if (i % 2 === 0) {
            await client.query(
              `update pgbench_accounts set abalance = abalance + 1, filler = 'n' || abalance + 1 where aid = $1`,
              [id],
            );
            added.set(id, (added.get(id) ?? 0) + 1);
          } else {
            const { rows } = await client.query(
              `select aid, bid, abalance, filler from pgbench_accounts where aid between $1 and $1 + 200`,
              [id],
            );
            for (const row of rows) {
              if (row.bid !== Math.ceil(row.aid / 100000))
                throw new Error(`row ${row.aid} has bid ${row.bid}`);
              if (row.abalance > 0 && row.filler.trimEnd() !== `n${row.abalance}`)
                throw new Error(`row ${row.aid} is torn`);
            }
          }
        }
      }),
    );
    await Promise.all(clients.map((c) => c.end()));
    const rows = await sql('select aid, abalance from pgbench_accounts where abalance <> 0');
    expect(new Map(rows.map((r) => [r['aid'], r['abalance']]))).toEqual(added);
    expect(await soundness(cluster.server)).toEqual([]);
  });
});

describe('the storage cap', () => {
  const fill = `insert into doomed select i, repeat('y', 500) from generate_series(1, 20000) i`;

  it('refuses growth with disk_full, rolls back, and lets space be freed and used again', async () => {
    await start({ capBlocks: (used) => used + 300 });
    const before = await fingerprint(cluster.server, ['doomed', 'docs']);
    await expect(sql(fill)).rejects.toMatchObject({ code: '53100' });
    expect(await fingerprint(cluster.server, ['doomed', 'docs'])).toEqual(before);
    const { usedBlocks, capBlocks } = await cluster.state.use();
    expect(usedBlocks).toBeLessThanOrEqual((capBlocks ?? 0) + 8);
    await sql('delete from doomed where id < 100; vacuum doomed');
    await sql('truncate tail, doomed');
    await sql(`insert into doomed select i, repeat('y', 500) from generate_series(1, 3000) i`);
    expect(await sql('select count(*)::int as n from doomed')).toEqual([{ n: 3000 }]);
    expect(await soundness(cluster.server)).toEqual([]);
  });

  it('lets tables be emptied at the cap, and no more than a little be made beyond it', async () => {
    await start({ capBlocks: (used) => used });
    await expect(sql(fill)).rejects.toMatchObject({ code: '53100' });
    await sql('truncate tail, doomed, docs');
    const { usedBlocks, capBlocks } = await cluster.state.use();
    expect(usedBlocks).toBeLessThan(capBlocks!);
    await cluster.state.setCap(usedBlocks);
    for (let n = 0; ; n++) {
      const made = await sql(`create table small_${n} as select 1 as a`).catch((error: unknown) => error);
      if (!Array.isArray(made)) {
        expect(made).toMatchObject({ code: '53100' });
        break;
      }
    }
    expect((await cluster.state.use()).usedBlocks).toBeLessThanOrEqual(usedBlocks + 256 + 64);
  });

  it('is raised while the server runs', async () => {
    await start({ capBlocks: (used) => used });
    await expect(sql(fill)).rejects.toMatchObject({ code: '53100' });
    await cluster.state.setCap(undefined);
    await sql(fill);
    expect(await sql('select count(*)::int as n from doomed')).toEqual([{ n: 25000 }]);
  });
});

describe('a compute', () => {
  it('ends when its agent is killed', async () => {
    const agent = spawn(process.execPath, [
      '-e',
      `const child = require('child_process').spawn('sleep', ['600'], { env: { LD_PRELOAD: '${library}', COPPICE_AGENT_PID: String(process.pid) } });
       console.log(child.pid); setInterval(() => {}, 1000);`,
    ]);
    const [line] = (await once(agent.stdout, 'data')) as [Buffer];
    const pid = Number(line.toString());
    await sleep(300);
    expect(await stat(`/proc/${pid}`)).toBeDefined();
    agent.kill('SIGKILL');
    await once(agent, 'exit');
    for (let waited = 0; waited < 5000 && (await stat(`/proc/${pid}`).catch(() => undefined)); waited += 20)
      await sleep(20);
    await expect(stat(`/proc/${pid}`)).rejects.toThrow('ENOENT');
  });
});
