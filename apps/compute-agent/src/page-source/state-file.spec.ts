import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StateFile, type StateFileOptions } from './state-file';

describe('a state file', () => {
  let directory: string;
  let options: StateFileOptions;
  let state: StateFile | undefined;

  function bytesAt(position: number, length: number): Buffer {
    const fd = openSync(options.path, 'r');
    const bytes = Buffer.alloc(length);
    readSync(fd, bytes, 0, length, position);
    closeSync(fd);
    return bytes;
  }

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'state-'));
    options = {
      path: join(directory, 'state'),
      socketPath: '/run/p',
      dataDirectory: '/data',
      nonce: 0x1122334455667788n,
      files: [
        { name: 'pg_xact/0000', blocks: 2, warm: [1, 0] },
        { name: 'base/5/2', blocks: 5, warm: [1, 4] },
        { name: 'base/5/16384', blocks: 3 },
      ],
      capBlocks: 1000,
      blocksAtStart: 12,
    };
  });
  afterEach(async () => {
    state?.close();
    state = undefined;
    await rm(directory, { recursive: true });
  });

  it('lists files in the order in which they become known, and what is warm of each', () => {
    state = StateFile.create(options);
    state.add({ name: 'base/5/16384_vm', blocks: 0, gone: true });
    const header = bytesAt(0, 4096);
    expect(state.files.map((f) => f.name)).toEqual([
      'pg_xact/0000',
      'base/5/2',
      'base/5/16384',
      'base/5/16384_vm',
    ]);
    expect(header.subarray(0, 16).toString('hex')).toBe('434f5053544154310300000004000000');
    expect(header.readBigUInt64LE(16)).toBe(options.nonce);
    expect(header.readBigUInt64LE(24)).toBe(BigInt(statSync(options.path).size));
    expect(header.readBigUInt64LE(1216)).toBe(12n);
    const entries = [0, 1, 2, 3].map((i) => bytesAt(69632 + i * 64, 64));
    expect(entries[1]!.subarray(0, 9).toString()).toBe('base/5/2\0');
    expect(entries.map((entry) => entry.readUInt32LE(56))).toEqual([0, 0, 0, 2]);
    expect(
      entries.map((entry) => [...bytesAt(Number(entry.readBigUInt64LE(48)), entry.readUInt32LE(40))]),
    ).toEqual([[2, 2], [0, 2, 0, 0, 2], [0, 0, 0], []]);
  });

  it('leads to every file from the chain of its name', () => {
    state = StateFile.create({ ...options, files: [] });
    const names = Array.from({ length: 300 }, (_, i) => `base/5/${i + 1}`);
    for (const name of names) state.add({ name, blocks: 1 });
    const found: string[] = [];
    for (let chain = 0; chain < 16384; chain += 1) {
      let next = bytesAt(4096 + chain * 4, 4).readUInt32LE();
      while (next > 0) {
        const entry = bytesAt(69632 + (next - 1) * 64, 64);
        found.push(entry.toString('latin1', 0, entry.indexOf(0)));
        next = entry.readUInt32LE(60);
      }
    }
    expect(found.sort()).toEqual(names.sort());
  });

  it('says from where on relations are local, of the 256 databases that were named last', () => {
    state = StateFile.create(options);
    const told = (): [database: number, from: number][] =>
      Array.from({ length: bytesAt(60, 4).readUInt32LE() }, (_, place) => {
        const entry = bytesAt(2048 + place * 8, 8);
        return [entry.readUInt32LE(4), entry.readUInt32LE(0)];
      });
    state.setLocalFrom(5, 0xffffffff);
    state.setLocalFrom(0, 7);
    state.setLocalFrom(5, 0);
    expect(told()).toEqual([
      [5, 0],
      [0, 7],
    ]);
    for (let database = 1000; database < 1255; database += 1) state.setLocalFrom(database, 1);
    expect(told()).toHaveLength(256);
    expect(told().slice(0, 2)).toEqual([
      [1254, 1],
      [0, 7],
    ]);
    expect(bytesAt(4096, 4).readUInt32LE()).toBe(0);
  });

  it('knows which warm blocks nobody has read', () => {
    state = StateFile.create(options);
    expect([1, 4].map((block) => state!.isUnread('base/5/2', block))).toEqual([true, true]);
    expect(state.isUnread('base/5/2', 0)).toBe(false);
    expect(state.isUnread('base/5/16384', 0)).toBe(false);
  });

  it('costs little of the disk, whatever its size', () => {
    state = StateFile.create(options);
    expect(statSync(options.path).blocks * 512).toBeLessThan(100_000);
  });

  it('counts what was there at the start as used, and takes a new cap and another count', async () => {
    state = StateFile.create(options);
    expect(state.use()).toEqual({ usedBlocks: 12, capBlocks: 1000 });
    state.setCap(undefined);
    state.setBlocksAtStart(20);
    expect(state.use()).toEqual({ usedBlocks: 20, capBlocks: undefined });
  });

  it('that is closed leaves the file alone that has its descriptor by then', () => {
    state = StateFile.create(options);
    state.close();
    const next = { ...options, path: join(directory, 'next'), files: [] };
    const other = StateFile.create(next);
    const untouched = other.use();
    const closed = { code: 'state-file-closed', message: `the compute of ${options.path} has ended` };
    const attempts = [
      (old: StateFile) => old.add({ name: 'base/5/7', blocks: 1, warm: [0] }),
      (old: StateFile) => old.setCap(5),
      (old: StateFile) => old.setBlocksAtStart(99),
      (old: StateFile) => old.use(),
      (old: StateFile) => old.isUnread('base/5/2', 1),
    ];
    for (const attempt of attempts)
      expect(() => attempt(state!)).toThrow(expect.objectContaining(closed) as Error);
    expect(state.closed.aborted).toBe(true);
    options = next;
    expect(other.use()).toEqual(untouched);
    expect(bytesAt(12, 4).readUInt32LE()).toBe(0);
    expect(bytesAt(1216, 8).readBigUInt64LE()).toBe(12n);
    other.close();
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
    ['a warm block past the end', { files: [{ name: 'base/5/1', blocks: 1, warm: [1] }] }],
    ['a socket path that is too long', { socketPath: `/${'x'.repeat(107)}` }],
  ])('refuses %s', async (_what, change) => {
    expect(() => StateFile.create({ ...options, ...change } as StateFileOptions)).toThrow(
      expect.objectContaining({ kind: 'Invalid' }),
    );
  });
});
