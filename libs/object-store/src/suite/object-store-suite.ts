import { systemClock } from '@coppice/service-kit';
import type { ObjectStore } from '../object-store';
import { listAll } from '../object-store';

/** What every object store must do. `open` gives an empty store. */
export function objectStoreSuite(name: string, open: () => Promise<ObjectStore>): void {
  describe(`object store: ${name}`, () => {
    let store: ObjectStore;
    const text = (bytes: Buffer): string => bytes.toString('utf8');
    const keysUnder = async (prefix: string): Promise<string[]> => {
      const keys: string[] = [];
      for await (const { key } of listAll(store, prefix)) keys.push(key);
      return keys;
    };
    beforeAll(async () => {
      store = await open();
    });

    it('gives back what was put', async () => {
      await store.put('give/back', Buffer.from('hello'));
      expect(text(await store.get('give/back'))).toBe('hello');
      const info = await store.head('give/back');
      expect(info).toEqual({ key: 'give/back', size: 5, modifiedUnixMs: expect.any(Number) });
      expect(Math.abs(info!.modifiedUnixMs - systemClock.now())).toBeLessThan(60_000);
      const { objects } = await store.list({ prefix: 'give/back' });
      expect(objects).toEqual([{ key: 'give/back', size: 5, modifiedUnixMs: expect.any(Number) }]);
    });

    it('keeps an empty object', async () => {
      await store.put('empty', Buffer.alloc(0));
      expect(await store.get('empty')).toHaveLength(0);
    });

    it('replaces an object whole', async () => {
      await store.put('replaced', Buffer.from('a longer first version'));
      await store.getRange('replaced', { offset: 0, length: 3 });
      await store.put('replaced', Buffer.from('second'));
      expect(text(await store.get('replaced'))).toBe('second');
      expect(text(await store.getRange('replaced', { offset: 0, length: 99 }))).toBe('second');
    });

    it('lets exactly one of many conditional puts win', async () => {
      const puts = Array.from({ length: 8 }, (_, i) => store.put('won/once', Buffer.from(`${i}`), { ifAbsent: true }));
      const results = await Promise.allSettled(puts);
      const winners = results.flatMap((r, i) => (r.status === 'fulfilled' ? [`${i}`] : []));
      expect(winners).toEqual([text(await store.get('won/once'))]);
      for (const r of results) {
        if (r.status === 'rejected') expect(r.reason).toMatchObject({ kind: 'Conflict', code: 'object-exists' });
      }
    });

    it('reads ranges, short at the end', async () => {
      await store.put('ranges', Buffer.from('0123456789'));
      expect(text(await store.getRange('ranges', { offset: 0, length: 1 }))).toBe('0');
      expect(text(await store.getRange('ranges', { offset: 3, length: 4 }))).toBe('3456');
      expect(text(await store.getRange('ranges', { offset: 8, length: 100 }))).toBe('89');
    });

    it('refuses a range that starts at or after the end', async () => {
      await store.put('ranges-end', Buffer.from('0123456789'));
      for (const offset of [10, 11]) {
        const read = store.getRange('ranges-end', { offset, length: 1 });
        await expect(read).rejects.toMatchObject({ kind: 'Invalid', code: 'range-not-satisfiable' });
      }
    });

    it('says when an object is not there', async () => {
      await expect(store.get('no/such')).rejects.toMatchObject({ kind: 'NotFound', code: 'object-not-found' });
      await expect(store.getRange('no/such', { offset: 0, length: 1 })).rejects.toMatchObject({ code: 'object-not-found' });
      expect(await store.head('no/such')).toBeUndefined();
      await store.put('a-file', Buffer.from('x'));
      await expect(store.get('a-file/below')).rejects.toMatchObject({ code: 'object-not-found' });
      expect(await store.head('a-file/below')).toBeUndefined();
    });

    it('lists by prefix in byte order of whole keys', async () => {
      const keys = ['list/a/2', 'list/a-b', 'list/a.b', 'list/a/1', 'list/b', 'list/B', 'list/aa', 'listed'];
      for (const key of keys) await store.put(key, Buffer.from(key));
      const inOrder = (wanted: string[]): string[] => wanted.sort();
      expect(await keysUnder('list/')).toEqual(inOrder(keys.filter((k) => k.startsWith('list/'))));
      expect(await keysUnder('list/a')).toEqual(inOrder(keys.filter((k) => k.startsWith('list/a'))));
      expect(await keysUnder('list/a/')).toEqual(['list/a/1', 'list/a/2']);
      expect(await keysUnder('nothing/here/')).toEqual([]);
    });

    it('lists page by page, each key once', async () => {
      const keys = Array.from({ length: 7 }, (_, i) => `paged/${i % 2}/${i}`).sort();
      for (const key of keys) await store.put(key, Buffer.from('x'));
      const seen: string[] = [];
      let after: string | undefined;
      let pages = 0;
      for (let truncated = true; truncated; pages += 1) {
        const page = await store.list({ prefix: 'paged/', after, limit: 3 });
        expect(page.objects.length).toBeLessThanOrEqual(3);
        seen.push(...page.objects.map((o) => o.key));
        after = seen.at(-1);
        truncated = page.truncated;
      }
      expect(seen).toEqual(keys);
      expect(pages).toBe(3);
    });

    it('lists folders in byte order, page by page, each once, however much they hold', async () => {
      const keys = ['f/b/1', 'f/b/2', 'f/b/c/3', 'f/b-1/x', 'f/b.1/x', 'f/a/1', 'f/B/1', 'f/file', 'f/b', 'f/zz/1', 'g/1'].filter((k) => k !== 'f/b');
      for (const key of keys) await store.put(key, Buffer.from('x'));
      const wanted = ['B/', 'a/', 'b-1/', 'b.1/', 'b/', 'zz/'].sort().map((name) => name.slice(0, -1));
      for (const limit of [1, 2, 1000]) {
        const seen: string[] = [];
        for (let truncated = true; truncated; ) {
          const page = await store.listFolders({ prefix: 'f/', after: seen.at(-1), limit });
          expect(page.folders.length).toBeLessThanOrEqual(limit);
          seen.push(...page.folders);
          truncated = page.truncated && page.folders.length > 0;
        }
        expect(seen).toEqual(wanted);
      }
      expect((await store.listFolders({ prefix: 'nothing/here/' })).folders).toEqual([]);
      await store.deleteMany(['f/b/1', 'f/b/2', 'f/b/c/3']);
      expect((await store.listFolders({ prefix: 'f/' })).folders).not.toContain('b');
    });

    it('keeps what is put beside a delete that empties the folder', async () => {
      for (let round = 0; round < 20; round += 1) {
        await store.put('busy/folder/old', Buffer.from('x'));
        await Promise.all([store.delete('busy/folder/old'), store.put(`busy/folder/new-${round}`, Buffer.from('y'))]);
        expect(text(await store.get(`busy/folder/new-${round}`))).toBe('y');
        await store.delete(`busy/folder/new-${round}`);
      }
    });

    it('deletes, also what is not there', async () => {
      await store.put('gone/1', Buffer.from('x'));
      await store.put('gone/2', Buffer.from('x'));
      await store.put('gone/3', Buffer.from('x'));
      await store.delete('gone/1');
      await store.delete('gone/1');
      await store.deleteMany(['gone/2', 'gone/2', 'gone/never']);
      expect(await keysUnder('gone/')).toEqual(['gone/3']);
      await store.deleteMany([]);
    });

    it('refuses keys that a store could not hold safely', async () => {
      for (const key of ['', '/', '/a', 'a/', 'a//b', '../a', 'a/../b', '.tmp/x', 'a b', 'a\0', 'ä', 'x'.repeat(1000)]) {
        await expect(store.put(key, Buffer.alloc(1))).rejects.toMatchObject({ kind: 'Invalid', code: 'bad-object-key' });
        await expect(store.get(key)).rejects.toMatchObject({ kind: 'Invalid', code: 'bad-object-key' });
      }
    });

    it('does nothing for a caller that has gone', async () => {
      const gone = AbortSignal.abort(new Error('caller gone'));
      await expect(store.put('abandoned', Buffer.alloc(1), { signal: gone })).rejects.toThrow('caller gone');
      expect(await store.head('abandoned')).toBeUndefined();
      await expect(store.get('abandoned', gone)).rejects.toThrow('caller gone');
    });

    it('keeps a large object and its ranges exact', async () => {
      const large = Buffer.alloc(6_000_000);
      for (let i = 0; i < large.length; i += 4) large.writeUInt32LE(i, i);
      await store.put('large', large);
      expect(large.equals(await store.get('large'))).toBe(true);
      const part = await store.getRange('large', { offset: 4_000_000, length: 65_536 });
      expect(part.equals(large.subarray(4_000_000, 4_065_536))).toBe(true);
    });
  });
}
