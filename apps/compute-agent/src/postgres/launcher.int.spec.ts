/** Real programs, started through the real launcher. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { silentLog } from '@coppice/service-kit';
import type { LaunchedServer } from './launch';
import { Launcher } from './launcher';

const run = promisify(execFile);

describe('a launcher', () => {
  const directory = mkdtempSync(join(tmpdir(), 'launcher-'));
  let launcher: Launcher;

  beforeAll(() => run(join(__dirname, '../../launcher/build.sh'), [join(directory, 'launcher')]));
  beforeEach(() => {
    launcher = new Launcher(join(directory, 'launcher'), silentLog());
  });
  afterEach(() => launcher.stop());
  afterAll(() => rmSync(directory, { recursive: true }));

  const shell = (script: string): Promise<LaunchedServer> =>
    launcher.launch({ command: ['/bin/sh', '-c', script], env: { WORD: 'hello' }, user: undefined });

  async function outputOf(server: LaunchedServer): Promise<string> {
    let text = '';
    server.onOutput((chunk) => (text += chunk.toString()));
    await server.exited;
    return text;
  }

  it('gives a program its environment and tells what it wrote and how it ended', async () => {
    const server = await shell('echo "$WORD"; echo there >&2; pwd; exit 3');
    expect(await outputOf(server)).toBe('hello\nthere\n/\n');
    expect(await server.exited).toBe('exit 3');
  });

  it('passes signals on, and starts several at once', async () => {
    const servers = await Promise.all([1, 2, 3].map(() => shell('exec sleep 60')));
    expect(new Set(servers.map(({ pid }) => pid)).size).toBe(3);
    servers.forEach((server) => server.kill('SIGINT'));
    expect(await Promise.all(servers.map(({ exited }) => exited))).toEqual(Array(3).fill('signal SIGINT'));
  });

  it('tells of a program that cannot be run', async () => {
    const server = await launcher.launch({ command: ['/no/such/program'], env: {}, user: undefined });
    expect(await outputOf(server)).toContain('/no/such/program cannot be run: No such file or directory');
    expect(await server.exited).toBe('exit 127');
  });

  it('goes on with those that run when there is no descriptor left for another', async () => {
    const server = await shell('exec sleep 60');
    const limit = (descriptors: number): Promise<unknown> =>
      run('prlimit', [`--nofile=${descriptors}:`, '--pid', String(launcher.start())]);
    // Three of any process, one for signals, one for the output of the server.
    await limit(5);
    const refused = await shell('echo never');
    expect(refused.pid).toBeUndefined();
    expect(await outputOf(refused)).toBe('the program cannot be run: pipe: Too many open files\n');
    expect(await refused.exited).toBe('exit 127');
    await limit(100);
    expect(await outputOf(await shell('echo again'))).toBe('again\n');
    server.kill('SIGINT');
    expect(await server.exited).toBe('signal SIGINT');
  });

  it('that dies takes what it runs for ended, and the next start makes another', async () => {
    const server = await shell('exec sleep 1');
    process.kill(launcher.start(), 'SIGKILL');
    expect(await server.exited).toBe('the launcher ended');
    expect(await outputOf(await shell('echo again'))).toBe('again\n');
  });
});
