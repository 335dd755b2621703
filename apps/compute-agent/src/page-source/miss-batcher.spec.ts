import { BLOCK_SIZE, type PageKey, relationBlockKey } from '@coppice/vocabulary';
import { MissBatcher, type PageProvider } from './miss-batcher';

const key = (block: number): PageKey =>
  relationBlockKey({ tablespace: 1663, database: 5, relation: 16384, fork: 0 }, block);
const keys = (first: number, count: number): PageKey[] =>
  Array.from({ length: count }, (_, i) => key(first + i));
const pageOf = (k: PageKey): Buffer => Buffer.alloc(BLOCK_SIZE, k.charCodeAt(17));
const never = new AbortController().signal;
const turns = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await Promise.resolve();
};

/** Answers when told to. */
class HeldPages implements PageProvider {
  readonly calls: {
    keys: readonly PageKey[];
    signal: AbortSignal;
    answer: () => void;
    fail: (error: Error) => void;
  }[] = [];

  getPages(wanted: readonly PageKey[], signal: AbortSignal): Promise<Buffer[]> {
    return new Promise((resolve, reject) => {
      this.calls.push({ keys: wanted, signal, answer: () => resolve(wanted.map(pageOf)), fail: reject });
      signal.addEventListener('abort', () => reject(signal.reason));
    });
  }
}

describe('misses', () => {
  it('of one page by two processes are one request', async () => {
    const provider = new HeldPages();
    const misses = new MissBatcher(provider);
    const both = [misses.fetch(keys(0, 3), never), misses.fetch(keys(2, 2), never)];
    expect(provider.calls.map((c) => c.keys)).toEqual([keys(0, 3), keys(3, 1)]);
    for (const call of provider.calls) call.answer();
    expect((await Promise.all(both)).map((pages) => pages.map((p) => p[0]))).toEqual([
      [0, 1, 2],
      [2, 3],
    ]);
  });

  it('are sent together once all requests are busy, those that are wanted first', async () => {
    const provider = new HeldPages();
    const misses = new MissBatcher(provider, { maxFetches: 1, maxBatch: 4 });
    const first = misses.fetch(keys(0, 1), never);
    misses.prefetch(keys(100, 3));
    const later = [misses.fetch(keys(1, 2), never), misses.fetch(keys(3, 1), never)];
    expect(provider.calls).toHaveLength(1);
    provider.calls[0]?.answer();
    await first;
    await turns();
    expect(provider.calls[1]?.keys).toEqual(keys(1, 3));
    provider.calls[1]?.answer();
    await Promise.all(later);
    await turns();
    expect(provider.calls[2]?.keys).toEqual(keys(100, 3));
  });

  it('use what was fetched ahead, once', async () => {
    const provider = new HeldPages();
    const misses = new MissBatcher(provider);
    misses.prefetch(keys(0, 2));
    provider.calls[0]?.answer();
    await turns();
    expect((await misses.fetch(keys(0, 2), never)).map((p) => p[0])).toEqual([0, 1]);
    expect(provider.calls).toHaveLength(1);
    const again = misses.fetch(keys(0, 1), never);
    expect(provider.calls).toHaveLength(2);
    provider.calls[1]?.answer();
    await again;
  });

  it('are cancelled when nobody waits any more, and only then', async () => {
    const provider = new HeldPages();
    const misses = new MissBatcher(provider);
    const [one, two] = [new AbortController(), new AbortController()];
    const both = [misses.fetch(keys(0, 1), one.signal), misses.fetch(keys(0, 1), two.signal)];
    one.abort();
    await expect(both[0]).rejects.toThrow('aborted');
    expect(provider.calls[0]?.signal.aborted).toBe(false);
    two.abort();
    await expect(both[1]).rejects.toThrow('aborted');
    expect(provider.calls[0]?.signal.aborted).toBe(true);
    const again = misses.fetch(keys(0, 1), never);
    provider.calls[1]?.answer();
    await again;
  });

  it('fail together with their request, and are asked for again', async () => {
    const provider = new HeldPages();
    const misses = new MissBatcher(provider);
    const failing = misses.fetch(keys(0, 2), never);
    provider.calls[0]?.fail(new Error('no such timeline'));
    await expect(failing).rejects.toThrow('no such timeline');
    const again = misses.fetch(keys(0, 2), never);
    provider.calls[1]?.answer();
    expect(await again).toHaveLength(2);
  });

  it('refuse a page of the wrong size', async () => {
    const misses = new MissBatcher({ getPages: async (wanted) => wanted.map(() => Buffer.alloc(100)) });
    await expect(misses.fetch(keys(0, 1), never)).rejects.toMatchObject({ kind: 'Corrupt' });
  });

  it('keep at most so many pages ahead, dropping the oldest', async () => {
    const provider = new HeldPages();
    const misses = new MissBatcher(provider, { maxAhead: 4 });
    misses.prefetch(keys(0, 6));
    expect(provider.calls.map((c) => c.keys)).toEqual([keys(0, 4)]);
    provider.calls[0]?.answer();
    await turns();
    misses.prefetch(keys(10, 1));
    provider.calls[1]?.answer();
    await turns();
    await misses.fetch([key(1), key(10)], never);
    const dropped = misses.fetch([key(0)], never);
    expect(provider.calls.map((c) => c.keys)).toEqual([keys(0, 4), keys(10, 1), keys(0, 1)]);
    provider.calls[2]?.answer();
    await dropped;
  });

  it('end with the source', async () => {
    const misses = new MissBatcher(new HeldPages());
    const waiting = misses.fetch(keys(0, 1), never);
    misses.stop();
    await expect(waiting).rejects.toMatchObject({ code: 'page-source-stopped' });
  });
});
