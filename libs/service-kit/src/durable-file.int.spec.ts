import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeDurable, writeDurableSync } from './durable-file';

/** A small file system can only be mounted by root. */
const describeAsRoot = process.getuid?.() === 0 ? describe : describe.skip;

describeAsRoot('a durable file on a disk with room for a part of it', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'cdf-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', directory]);
  });
  afterEach(() => {
    execFileSync('umount', [directory]);
    rmSync(directory, { recursive: true });
  });

  it('stays what it was', async () => {
    const path = join(directory, 'control');
    const tooMuch = Buffer.alloc(20_000, 'n');
    writeDurableSync(path, Buffer.from('old'));
    expect(() => writeDurableSync(path, tooMuch)).toThrow('ENOSPC');
    await expect(writeDurable(path, tooMuch)).rejects.toThrow('ENOSPC');
    expect(readFileSync(path, 'utf8')).toBe('old');
  });
});
