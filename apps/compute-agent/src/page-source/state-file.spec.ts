import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StateFile, type StateFileOptions } from './state-file';

describe('a state file', () => {
  let directory: string;
  let options: StateFileOptions;
  let state: StateFile | undefined;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'state-'));
    options = {
      path: join(directory, 'state'),
      socketPath: '/run/p',
      dataDirectory: '/data',
      nonce: 0x1122334455667788n,
      files: [
        { name: 'pg_xact/0000', blocks: 2, present: 'all' },
        { name: 'base/5/2', blocks: 5, present: [1, 4] },
        { name: 'base/5/16384', blocks: 3 },
      ],
      capBlocks: 1000,
      localBlocks: 4,
    };
  });
  afterEach(async () => {
    await state?.close();
    await rm(directory, { recursive: true });
  });

  it('lists files in order of their names, and what is present of each', async () => {
    state = await StateFile.create(options);
    const bytes = await readFile(options.path);
    expect(state.files.map((f) => f.name)).toEqual(['base/5/16384', 'base/5/2', 'pg_xact/0000']);
    expect(bytes.subarray(0, 16).toString('hex')).toBe('434f5053544154310100000003000000');
    expect(bytes.readBigUInt64LE(16)).toBe(options.nonce);
    expect(bytes.readBigUInt64LE(24)).toBe(BigInt(bytes.length));
    expect(bytes.subarray(4096 + 64, 4096 + 64 + 9).toString()).toBe('base/5/2\0');
    const states = [0, 1, 2].map((i) => {
      const entry = 4096 + i * 64;
      const start = Number(bytes.readBigUInt64LE(entry + 48));
      return [...bytes.subarray(start, start + bytes.readUInt32LE(entry + 40))];
    });
    expect(states).toEqual([
      [0, 0, 0],
      [0, 2, 0, 0, 2],
      [2, 2],
    ]);
  });

  it('counts relations as used, and takes a new cap', async () => {
    state = await StateFile.create(options);
    expect(await state.use()).toEqual({ usedBlocks: 12, capBlocks: 1000 });
    await state.setCap(undefined);
    expect(await state.use()).toEqual({ usedBlocks: 12, capBlocks: undefined });
  });

  it.each([
    ['a file that is not tracked', { files: [{ name: 'base/5/pg_filenode.map', blocks: 1 }] }],
    [
      'a file twice',
      {
        files: [
          { name: 'base/5/1', blocks: 1 },
          { name: 'base/5/1', blocks: 1 },
        ],
      },
    ],
    ['more blocks than a segment has', { files: [{ name: 'base/5/1', blocks: 131073 }] }],
    ['a present block past the end', { files: [{ name: 'base/5/1', blocks: 1, present: [1] }] }],
    ['a socket path that is too long', { socketPath: `/${'x'.repeat(107)}` }],
  ])('refuses %s', async (_what, change) => {
    await expect(StateFile.create({ ...options, ...change })).rejects.toMatchObject({ kind: 'Invalid' });
  });
});
