import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileObjectStore } from './file-object-store';
import { objectStoreSuite } from './suite/object-store-suite';

const directories: string[] = [];

async function directory(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'coppice-objects-'));
  directories.push(made);
  return made;
}

afterAll(async () => {
  for (const made of directories) await rm(made, { recursive: true });
});

objectStoreSuite('file', async () => FileObjectStore.open(await directory()));

describe('file object store', () => {
  it('drops what an unfinished put left and shows nothing of it', async () => {
    const root = await directory();
    await (await FileObjectStore.open(root)).put('a/b', Buffer.from('x'));
    await writeFile(join(root, '.tmp', 'half'), 'hal');
    const store = await FileObjectStore.open(root);
    expect((await store.list({ prefix: '' })).objects).toMatchObject([{ key: 'a/b', size: 1 }]);
    expect(await readdir(join(root, '.tmp'))).toEqual([]);
  });

  it('leaves no temporary file after a lost conditional put', async () => {
    const root = await directory();
    const store = await FileObjectStore.open(root);
    await store.put('once', Buffer.from('x'), { ifAbsent: true });
    await expect(store.put('once', Buffer.from('y'), { ifAbsent: true })).rejects.toMatchObject({ kind: 'Conflict' });
    expect(await readdir(join(root, '.tmp'))).toEqual([]);
  });
});
