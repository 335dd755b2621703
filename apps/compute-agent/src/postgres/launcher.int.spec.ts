/** Real programs, started through the real launcher. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { silentLog, systemClock } from '@coppice/service-kit';
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

  describe('that keeps memory for servers', () => {
    const withMemory = (script: string): Promise<LaunchedServer> =>
      launcher.launch({
        command: ['/bin/bash', '-c', `memory=/proc/self/fd/$COPPICE_SHARED_MEMORY; ${script}`],
        env: { PATH: '/usr/bin:/bin', COPPICE_SHARED_MEMORY: '' },
        user: undefined,
      });
    /** Writes at the beginning and behind the first huge pages, and tells which file it is. */
    const LEAVE_A_TRACE =
      'stat -L -c %i $memory; for seek in 0 7; do head -c 1M /dev/urandom | dd of=$memory bs=1M seek=$seek conv=notrunc 2>/dev/null; done';
    const WHAT_IS_THERE = "stat -L -c %i $memory; head -c 16M $memory | tr -d '\\0' | wc -c";
    const spares = async (count: number): Promise<void> => {
      const end = systemClock.monotonic() + 20_000;
      while (launcher.spares !== count) {
        if (systemClock.monotonic() > end) throw new Error(`there are ${launcher.spares} spares, not ${count}`);
        await systemClock.sleep(20);
      }
    };
    beforeEach(() => {
      launcher.start();
      launcher.keepSpares(1);
    });

    it('gives it on, and nothing of what was in it', async () => {
      const [inode] = (await outputOf(await withMemory(LEAVE_A_TRACE))).split('\n');
      await spares(1);
      expect(await outputOf(await withMemory(WHAT_IS_THERE))).toBe(`${inode}\n0\n`);
    });

    it('gives none on that somebody still has', async () => {
      const left = 'exec 4<>$memory; sleep 5 >&- 2>&- & ';
      const [inode] = (await outputOf(await withMemory(`${left} ${LEAVE_A_TRACE}`))).split('\n');
      await spares(1);
      const [another, bytes] = (await outputOf(await withMemory(WHAT_IS_THERE))).split('\n');
      expect(another).not.toBe(inode);
      expect(bytes).toBe('0');
    });

    it('keeps as many as it is told, and makes them when it has seen what a server touches', async () => {
      launcher.keepSpares(3);
      await outputOf(await withMemory(LEAVE_A_TRACE));
      await spares(3);
      launcher.keepSpares(0);
      await spares(0);
      expect(await outputOf(await withMemory('echo "${COPPICE_SHARED_MEMORY-none}"'))).toBe('none\n');
    });

    it('lets no server shorten it', async () => {
      expect(await outputOf(await withMemory('truncate -s 0 $memory 2>&1; stat -L -c %s $memory'))).toMatch(
        /Operation not permitted[^]*\n1073741824\n/,
      );
    });
  });
});
