/** Real programs, started through the real launcher. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
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
    /** Which file it is, how much of it is there, and what stands in it; then writes at its beginning and further on. */
    const LOOK_AND_WRITE = `
      stat -L -c '%i %b' $memory; head -c 64M $memory | tr -d '\\0' | wc -c
      for seek in 0 7 40; do head -c 1M /dev/urandom | dd of=$memory bs=1M seek=$seek conv=notrunc 2>/dev/null; done`;
    interface Seen {
      readonly inode: string;
      readonly mebibytes: number;
      readonly written: string;
    }
    const look = async (): Promise<Seen> => {
      const [file, written] = (await outputOf(await withMemory(LOOK_AND_WRITE))).split('\n');
      const [inode, blocks] = file!.split(' ');
      return { inode: inode!, mebibytes: Number(blocks) / 2048, written: written! };
    };
    const kept = async (pieces: number): Promise<void> => {
      const end = systemClock.monotonic() + 50_000;
      while (launcher.spares.pieces !== pieces) {
        if (systemClock.monotonic() > end)
          throw new Error(`${launcher.spares.pieces} pieces are kept, not ${pieces}`);
        await systemClock.sleep(20);
      }
    };
    beforeEach(() => {
      launcher.start();
      launcher.keepSpares(2, 1_000);
    });

    it('gives each a piece of its own, with the pages that it is going to touch, in which nothing stands', async () => {
      const first = await look();
      expect(first).toMatchObject({ mebibytes: 0, written: '0' });
      await kept(2);
      const [second, third] = [await look(), await look()];
      // What was written to lies in three huge pages.
      expect([second.mebibytes, third.mebibytes]).toEqual([6, 6]);
      expect([second.written, third.written]).toEqual(['0', '0']);
      expect(new Set([first.inode, second.inode, third.inode]).size).toBe(3);
    });

    it('keeps as many pieces and as many bytes as it is told', async () => {
      await look();
      await kept(2);
      expect(launcher.spares.bytes).toBe(2 * 6 * 1024 * 1024);
      launcher.keepSpares(100, 20);
      await kept(3);
      launcher.keepSpares(1, 20);
      await kept(1);
      launcher.keepSpares(0, 20);
      await kept(0);
      expect(await outputOf(await withMemory('echo "${COPPICE_SHARED_MEMORY-none}"'))).toBe('none\n');
    });

    it('learns nothing from one that has done more than to start, nor from one that failed', async () => {
      const much = 'for seek in $(seq 0 2 40); do echo x | dd of=$memory bs=1M seek=$seek conv=notrunc 2>/dev/null; done';
      await outputOf(await withMemory(much));
      await outputOf(await withMemory(`${LOOK_AND_WRITE}; exit 1`));
      // Where nothing is known, a server begins with an empty piece.
      expect(await look()).toMatchObject({ mebibytes: 0 });
    });

    it('learns anew now and then', async () => {
      launcher.keepSpares(1, 1_000);
      await look();
      await kept(1);
      for (let n = 0; n < 17; n += 1)
        await outputOf(await withMemory('echo x | dd of=$memory conv=notrunc 2>/dev/null'));
      // What was made before that lesson goes.
      launcher.keepSpares(0, 1_000);
      await kept(0);
      launcher.keepSpares(1, 1_000);
      await kept(1);
      expect(launcher.spares.bytes).toBe(2 * 1024 * 1024);
      expect(await look()).toMatchObject({ mebibytes: 2, written: '0' });
    });

    it('goes on without when no descriptor is left for one that starts', async () => {
      await look();
      launcher.keepSpares(8, 1_000);
      await kept(8);
      const open = new Set((await readdir(`/proc/${launcher.start()}/fd`)).map(Number));
      const free = Array.from({ length: 300 }, (_, n) => n).find((n) => !open.has(n))!;
      // One descriptor: no pipe can be made of that.
      await run('prlimit', [`--nofile=${free + 1}:`, '--pid', String(launcher.start())]);
      expect(await outputOf(await withMemory('echo there'))).toBe('there\n');
      expect(launcher.spares.pieces).toBe(0);
    });
  });
});
