import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { silentLog, systemClock } from '@coppice/service-kit';
import { BLOCK_SIZE, DEFAULT_TABLESPACE, Fork, type PageKey } from '@coppice/vocabulary';
import type { RelationSize } from '../prepare/compute-image';
import { placeOf } from './placed-pages';
import { PageSource } from './page-source';
import { RelationFiles } from './relation-files';
import { buildInterposer } from './sparse-cluster.fixture';
import { StateFile } from './state-file';

const run = promisify(execFile);
const content = Buffer.alloc(10 * BLOCK_SIZE, 'content of the original file, ');

/** Calls that the server may make of a newer version or an extension, and that shell tools do not. */
const CALLS = `
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
static char all[1 << 20];
int main(int count, char **arg) {
  const char *what = arg[1];
  if (!strcmp(what, "fread")) {
    FILE *file = fopen(arg[2], "r");
    return fwrite(all, 1, fread(all, 1, sizeof all, file), stdout) == 0;
  }
  if (!strcmp(what, "dup")) {
    int fd = dup(open(arg[2], O_RDONLY));
    struct iovec parts[2] = {{all, 5000}, {all + 5000, sizeof all - 5000}};
    return fwrite(all, 1, preadv(fd, parts, 2, 0), stdout) == 0;
  }
  if (!strcmp(what, "copy")) {
    int to = open(arg[3], O_RDWR | O_CREAT, 0600);
    off_t from_at = 1000, to_at = 1000;
    return copy_file_range(open(arg[2], O_RDONLY), &from_at, to, &to_at, 50000, 0) != 50000;
  }
  if (!strcmp(what, "rename")) return rename(arg[2], arg[3]);
  if (!strcmp(what, "again")) return unlink(arg[2]) < 0 || open(arg[2], O_CREAT | O_EXCL | O_RDWR, 0600) < 0 || truncate(arg[2], 16384);
  if (!strcmp(what, "empty")) return open(arg[2], O_RDWR | O_TRUNC) < 0 || truncate(arg[2], 16384);
  if (!strcmp(what, "make")) return open(arg[2], O_CREAT | O_EXCL | O_RDWR, 0600) < 0;
  if (!strcmp(what, "list")) {
    int status = 0;
    if (fork()) return wait(&status) < 0 || status;
    DIR *directory = opendir(arg[2]);
    for (struct dirent *entry; directory && (entry = readdir(directory)); ) if (entry->d_name[0] != '.') puts(entry->d_name);
    return !directory;
  }
  if (!strcmp(what, "fork")) {
    int fd = open(arg[2], O_RDONLY), other = open(arg[3], O_RDONLY), status = 0;
    pread(fd, all, 8192, 0);
    int parent = fork() != 0;
    for (int block = 9; block >= 0; block--) pread(parent ? fd : other, all + block * 8192, 8192, block * 8192);
    if (parent) wait(&status);
    return fwrite(all, 1, 81920, stdout) == 0 || status;
  }
  return 99;
}`;

/** Relations that nobody has asked for when a program starts, of ten blocks each. */
const STORED = [400, 401, 402];
const inStorage = (database: number, relation: number): RelationSize[] =>
  database === 5 && STORED.includes(relation)
    ? [{ tablespace: DEFAULT_TABLESPACE, database, relation, fork: Fork.main, blocks: 10 }]
    : [];

let library: string;
let calls: string;
beforeAll(async () => {
  library = await buildInterposer();
  calls = library.replace(/interposer.so$/, 'calls');
  await writeFile(`${calls}.c`, CALLS);
  await run('cc', ['-o', calls, `${calls}.c`]);
});

describe('a program with the interposer', () => {
  let directory: string;
  let state: StateFile;
  let source: PageSource;
  let shell: (command: string) => Promise<{ stdout: string }>;
  const path = (name: string): string => join(directory, name);

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'files-'));
    await chmod(directory, 0o755);
    await run('mkdir', ['-p', path('base/5')]);
    for (const name of ['base/5/100', 'base/5/200']) {
      await writeFile(path(name), '');
      await truncate(path(name), content.length);
    }
    state = StateFile.create({
      path: path('state'),
      socketPath: path('pages'),
      dataDirectory: directory,
      nonce: 7n,
      files: ['base/5/100', 'base/5/200'].map((name) => ({ name, blocks: 10 })),
      blocksAtStart: 20,
    });
    const getPages = async (keys: readonly PageKey[]): Promise<Buffer[]> =>
      keys.map((key) =>
        content.subarray(placeOf(key).block * BLOCK_SIZE, (placeOf(key).block + 1) * BLOCK_SIZE),
      );
    const relations = new RelationFiles({
      state,
      dataDirectory: directory,
      owner: undefined,
      databases: new Set([5]),
      log: silentLog(),
      provider: {
        ofRelation: async ({ database, relation }) => ({
          relations: inStorage(database, relation),
          initForks: [],
        }),
        highestOf: async () => Math.max(...STORED),
        ofDatabase: async (database) => ({
          relations: STORED.flatMap((relation) => inStorage(database, relation)),
          initForks: [],
        }),
      },
    });
    source = new PageSource({
      state,
      provider: { getPages },
      relations,
      log: silentLog(),
      clock: systemClock,
    });
    await source.start();
    const env = { PATH: '/usr/bin:/bin', LD_PRELOAD: library, COPPICE_STATE: state.path };
    shell = (command) =>
      run('/bin/bash', ['-c', `set -e; ${command}`], { cwd: directory, env, maxBuffer: 1 << 20 });
  });
  afterEach(async () => {
    await source.stop();
    state.close();
    await rm(directory, { recursive: true });
  });

  it('read a tracked file by plain reads, by name or through the data directory', async () => {
    expect((await shell('cat base/5/100')).stdout).toBe(content.toString());
    expect((await shell(`cat ${directory}/base/5/100`)).stdout).toBe(content.toString());
  });

  it('write parts of blocks on top of what was there', async () => {
    await shell('printf NEW | dd of=base/5/100 bs=1 seek=20000 conv=notrunc status=none');
    const wanted = Buffer.from(content);
    wanted.write('NEW', 20000);
    expect((await shell('cat base/5/100')).stdout).toBe(wanted.toString());
  });

  it('write whole blocks that were never fetched', async () => {
    await shell(
      'tr "\\0" N < /dev/zero | dd of=base/5/100 bs=8192 seek=3 count=2 iflag=fullblock conv=notrunc status=none || true',
    );
    const wanted = Buffer.from(content);
    wanted.fill('N', 3 * BLOCK_SIZE, 5 * BLOCK_SIZE);
    expect((await shell('cat base/5/100')).stdout).toBe(wanted.toString());
  });

  it('cut a file in the middle of a block and let it grow again by zeros', async () => {
    await shell('truncate -s 20000 base/5/100; truncate -s 40000 base/5/100');
    const wanted = Buffer.concat([content.subarray(0, 20000), Buffer.alloc(20000)]);
    expect((await shell('cat base/5/100')).stdout).toBe(wanted.toString());
  });

  it('copy a tracked file into a new one, and over another tracked one', async () => {
    await shell('dd if=base/5/100 of=base/5/300 bs=10000 status=none; cat base/5/100 > base/5/200');
    expect((await readFile(path('base/5/300'))).equals(content)).toBe(true);
    expect((await readFile(path('base/5/200'))).equals(content)).toBe(true);
  });

  it('read through a FILE or a duplicated descriptor', async () => {
    expect((await shell(`${calls} fread base/5/100`)).stdout).toBe(content.toString());
    expect((await shell(`${calls} dup base/5/200`)).stdout).toBe(content.toString());
  });

  it('fetch in parent and child at once', async () => {
    const both = (await shell(`${calls} fork base/5/100 base/5/200`)).stdout;
    expect(both === content.toString() + content.toString()).toBe(true);
  });

  it('copy a range inside the kernel onto a tracked file, whose other blocks stay what they were', async () => {
    await shell(`${calls} copy base/5/100 base/5/200`);
    expect((await shell('cat base/5/200')).stdout).toBe(content.toString());
  });

  it('rename a tracked file as a whole', async () => {
    await shell(`${calls} rename base/5/100 base/5/300; ${calls} rename base/5/300 base/5/200`);
    expect((await readFile(path('base/5/200'))).equals(content)).toBe(true);
    expect((await shell('cat base/5/200')).stdout).toBe(content.toString());
  });

  it('find a file that storage has when they first use its name, whatever they do with it', async () => {
    expect((await shell('cat base/5/400')).stdout).toBe(content.toString());
    expect((await shell('stat -c %s base/5/401')).stdout).toBe(`${content.length}\n`);
    await expect(shell(`${calls} make base/5/402`)).rejects.toThrow();
    await shell(`unlink base/5/402; ${calls} make base/5/402; unlink base/5/401`);
    expect((await shell('cat base/5/402; test ! -e base/5/401')).stdout).toBe('');
  });

  it('see files that storage has when they list the directory, but for those that were unlinked', async () => {
    await shell('unlink base/5/401');
    const { stdout } = await shell(`${calls} list base/5`);
    expect(stdout.split('\n').filter(Boolean).sort()).toEqual(['100', '200', '400', '402']);
    expect((await shell('cat base/5/402')).stdout).toBe(content.toString());
  });

  it('find nothing where storage has nothing, and make files of their own there', async () => {
    await shell(
      `test ! -e base/5/500; ${calls} make base/5/500; test -e base/5/500; ${calls} make base/5/500_vm; mkdir base/6; ${calls} make base/6/400`,
    );
    expect((await shell('cat base/5/500 base/5/500_vm base/6/400')).stdout).toBe('');
  });

  it('get a new file where a tracked one was unlinked or emptied', async () => {
    await shell(`${calls} again base/5/100; ${calls} empty base/5/200`);
    expect((await shell('cat base/5/100 base/5/200')).stdout).toBe('\0'.repeat(32768));
  });
});
