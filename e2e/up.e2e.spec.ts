/** What `./coppice up`, `status` and `down` do for a user, and what they say when something is in the way. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, sql, Stack } from '@coppice/testing';

jest.setTimeout(240_000);

const lineOf = (error: unknown): string =>
  ((error as { stderr: string }).stderr ?? '').trim().split('\n').at(-1)!;

/** What a service counts once a database was made and written to. */
const WORKED: Readonly<Record<string, RegExp>> = {
  gateway: /^coppice_gateway_request_seconds_count\{operation="createProject",status="201"\} 1$/m,
  'control-plane': /^coppice_compute_start_seconds_count [1-9]/m,
  'compute-proxy': /^coppice_proxy_start_phase_seconds_count\{phase="open"\} [1-9]/m,
  'compute-agent': /^coppice_compute_start_phase_seconds_count\{phase="ready"\} [1-9]/m,
  pageserver: /^coppice_pageserver_ingested_records_total [1-9]/m,
  reaper: /^coppice_reaper_due\{kind="idle-compute"\} 0$/m,
  'safekeeper-1': /^coppice_safekeeper_batch_seconds_count [1-9]/m,
  'safekeeper-2': /^coppice_safekeeper_batch_seconds_count [1-9]/m,
  'safekeeper-3': /^coppice_safekeeper_batch_seconds_count [1-9]/m,
};

describe('a stack on one machine', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await Stack.start();
  });
  afterAll(() => stack?.remove());

  const up = (dataDirectory: string, port: number): Promise<unknown> =>
    stack.coppice('up', '--data-dir', dataDirectory, '--port-base', String(port), '--detach');

  it('writes where everything is, for its owner only', () => {
    expect(stack.file).toMatchObject({
      api: `http://127.0.0.1:${stack.portBase}/api/v2`,
      apiKey: expect.stringMatching(/^cpk_/),
      postgres: { host: '127.0.0.1', port: stack.portBase + 32 },
      http: { host: '127.0.0.1', port: stack.portBase + 33 },
    });
    expect(stack.file.services.map((s) => s.name).sort()).toEqual(
      [
        'compute-agent',
        'compute-proxy',
        'control-plane',
        'gateway',
        'metadata',
        'pageserver',
        'reaper',
        'safekeeper-1',
        'safekeeper-2',
        'safekeeper-3',
      ].sort(),
    );
    expect(statSync(join(stack.dataDirectory, 'stack.json')).mode & 0o077).toBe(0);
    expect(statSync(join(stack.file.runDirectory, 'svc')).mode & 0o077).toBe(0);
  });

  it('refuses a second start on the same directory', async () => {
    const error = await up(stack.dataDirectory, stack.portBase + 100).catch(lineOf);
    expect(error).toContain('already runs');
  });

  it('names a port that is in use', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'coppice-up-'));
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((r) => server.once('listening', r));
    const { port } = server.address() as { port: number };
    expect(await up(directory, port).catch(lineOf)).toContain(
      `port ${port} for the API cannot be used (EADDRINUSE)`,
    );
    server.close();
    rmSync(directory, { recursive: true });
  });

  it('names a directory that cannot be written', async () => {
    const parent = mkdtempSync(join(tmpdir(), 'coppice-up-'));
    const directory = join(parent, 'file');
    writeFileSync(directory, 'not a directory');
    expect(await up(directory, stack.portBase + 200).catch(lineOf)).toContain(
      'cannot write to the data directory',
    );
    rmSync(parent, { recursive: true });
  });

  it('names a disk that is full', async () => {
    if (process.getuid?.() !== 0) return;
    const directory = mkdtempSync(join(tmpdir(), 'coppice-small-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', directory]);
    try {
      mkdirSync(join(directory, 'd'));
      chmodSync(join(directory, 'd'), 0o755);
      expect(await up(join(directory, 'd'), stack.portBase + 300).catch(lineOf)).toContain(
        '512 MiB are needed',
      );
    } finally {
      execFileSync('umount', [directory]);
      rmSync(directory, { recursive: true });
    }
  });

  it('shows the metrics of every service of ours after some work, and that it lives', async () => {
    const made = await stack.ask('POST', '/projects', { project: { name: 'measured' } });
    await sql(made.connection_uris[0].connection_uri, 'create table t as select generate_series(1, 1000) i');
    const measured = stack.file.services.filter((s) => s.name !== 'metadata');
    expect(measured.map((s) => s.name).sort()).toEqual(Object.keys(WORKED).sort());
    for (const { name, metrics } of measured) {
      const health = await fetch(metrics!.replace('/metrics', '/healthz'));
      expect([name, health.status, await health.text()]).toEqual([name, 200, 'ok\n']);
      await eventually(10_000, async () => {
        const shown = await stack.metrics(name);
        expect([name, shown]).toEqual([name, expect.stringMatching(WORKED[name]!)]);
        expect(shown).toMatch(/^process_resident_memory_bytes [1-9]/m);
      });
    }
    const { stdout } = await stack.coppice('status', '--data-dir', stack.dataDirectory);
    for (const { metrics } of measured) expect(stdout).toContain(metrics);
  });

  it('shows services and computes, starts again what dies, and stops', async () => {
    const made = await stack.ask('POST', '/projects', { project: { name: 'shown' } });
    await sql(made.connection_uris[0].connection_uri, 'select 1');
    const { stdout } = await stack.coppice('status', '--data-dir', stack.dataDirectory);
    expect(stdout).toContain(made.endpoints[0].id);
    for (const { name } of stack.file.services) expect(stdout).toMatch(new RegExp(`${name}\\s+ready`));
    const before = stack.file.services.find((s) => s.name === 'reaper')!.pid;
    stack.kill9('reaper');
    await eventually(20_000, async () => {
      const now = (await stack.coppice('status', '--data-dir', stack.dataDirectory)).stdout;
      expect(now).toMatch(/reaper\s+ready\s+pid \d+\s+restarts 1/);
      expect(now).not.toContain(`pid ${before} `);
    });
    await stack.down();
    expect(await stack.coppice('status', '--data-dir', stack.dataDirectory).catch(lineOf)).toContain(
      'no stack runs',
    );
  });

  it('gives a data directory from before there were identities their key, and keeps its secrets', async () => {
    const path = join(stack.dataDirectory, 'secrets.json');
    const { identityKey: before, ...others } = JSON.parse(readFileSync(path, 'utf8')) as Record<
      string,
      string
    >;
    writeFileSync(path, JSON.stringify(others));
    await stack.up();
    const { identityKey, ...kept } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, string>;
    expect(kept).toEqual(others);
    expect(identityKey).not.toBe(before);
    const { projects } = await stack.ask('GET', '/projects');
    const { uri } = await stack.ask(
      'GET',
      `/projects/${projects[0].id}/connection_uri?role_name=neondb_owner&database_name=neondb`,
    );
    expect(await sql(uri, 'select 1 as one')).toEqual([{ one: 1 }]);
  });
});
