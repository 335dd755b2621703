import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { transformSync } from 'esbuild';
import { startPostgres, type TestPostgres } from './postgres';

describe('a test server', () => {
  let server: TestPostgres;
  beforeAll(async () => (server = await startPostgres({ settings: { work_mem: '5MB' } })));
  afterAll(() => server.dispose());

  it('is PostgreSQL 17 with the settings asked for', async () => {
    const [row] = await server.query<{ v: string; m: string }>(
      "select version() v, current_setting('work_mem') m",
    );
    expect(row!.v).toMatch(/^PostgreSQL 17\./);
    expect(row!.m).toBe('5MB');
  });

  it('answers in another database, with parameters', async () => {
    await server.query('create database other');
    const rows = await server.query('select current_database() as db, $1::int + 1 as n', [41], {
      database: 'other',
    });
    expect(rows).toEqual([{ db: 'other', n: 42 }]);
  });

  it('keeps its data over a restart, a crash and a kill', async () => {
    await server.query('create table t as select 1 as a');
    await server.stop();
    await server.start();
    await server.query('insert into t values (2)');
    await server.kill9();
    await server.start();
    expect(await server.query('select count(*)::int n from t')).toEqual([{ n: 2 }]);
  });

  it('names the file that holds a WAL position', async () => {
    const [row] = await server.query<{ name: string; at: string }>(
      "select pg_walfile_name(l) as name, l - '0/0' as at from pg_current_wal_insert_lsn() l",
    );
    expect(server.walFile(BigInt(row!.at))).toBe(server.walFile(row!.name));
    expect(existsSync(server.walFile(row!.name))).toBe(true);
  });
});

it('a server and its directory go away with it', async () => {
  const server = await startPostgres();
  const { pid, directory } = server;
  await server.dispose();
  expect(existsSync(directory)).toBe(false);
  expect(() => process.kill(pid!, 0)).toThrow();
});

it('a server whose settings are wrong fails to start with its log in the message', async () => {
  await expect(startPostgres({ settings: { shared_buffers: 'nonsense' } })).rejects.toThrow(
    /invalid value for parameter/,
  );
});

it('a guarded directory is removed when the process that guards it is killed', async () => {
  const guardian = transformSync(readFileSync(join(__dirname, 'guardian.ts'), 'utf8'), {
    loader: 'ts',
    format: 'cjs',
  });
  const script = `${guardian.code}
    const directory = require('fs').mkdtempSync(require('os').tmpdir() + '/cpg-guard-');
    guardDirectory(directory);
    console.log(directory);
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const directory = line.toString().trim();
  expect(existsSync(directory)).toBe(true);
  child.kill('SIGKILL');
  for (let waited = 0; existsSync(directory) && waited < 10_000; waited += 10) await sleep(10);
  expect(existsSync(directory)).toBe(false);
});
