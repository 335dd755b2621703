import { SharedWork } from './shared-work';

function deferred<T>() {
  let settle!: { resolve: (value: T) => void; reject: (error: unknown) => void };
  const promise = new Promise<T>((resolve, reject) => (settle = { resolve, reject }));
  return { promise, ...settle };
}

describe('shared work', () => {
  it('is begun once for all who come while it goes on, and anew after', async () => {
    const work = new SharedWork<string, number>();
    let begun = 0;
    const begin = async () => ++begun;
    const both = [work.join('a', undefined, begin), work.join('a', new AbortController().signal, begin)];
    expect(await Promise.all(both)).toEqual([1, 1]);
    expect(work.has('a')).toBe(false);
    expect(await work.join('a', undefined, begin)).toBe(2);
  });

  it('goes on for those who stay', async () => {
    const work = new SharedWork<string, number>();
    const { promise, resolve } = deferred<number>();
    const leaver = new AbortController();
    let left = false;
    const begin = (nobodyWaits: AbortSignal) => {
      nobodyWaits.addEventListener('abort', () => (left = true));
      return promise;
    };
    const [gone, stays] = [
      work.join('a', leaver.signal, begin),
      work.join('a', new AbortController().signal, begin),
    ];
    leaver.abort(new Error('gone'));
    await expect(gone).rejects.toThrow('gone');
    expect(left).toBe(false);
    resolve(7);
    expect(await stays).toBe(7);
  });

  it('is told when the last one leaves, and is not joined after that', async () => {
    const work = new SharedWork<string, number>();
    const [one, two] = [new AbortController(), new AbortController()];
    let begun = 0;
    const begin = (nobodyWaits: AbortSignal) => {
      begun += 1;
      return new Promise<number>((_, reject) =>
        nobodyWaits.addEventListener('abort', () => reject(nobodyWaits.reason as Error)),
      );
    };
    const outcomes = Promise.allSettled([
      work.join('a', one.signal, begin),
      work.join('a', two.signal, begin),
    ]);
    one.abort(new Error('one'));
    two.abort(new Error('two'));
    expect((await outcomes).map((o) => o.status)).toEqual(['rejected', 'rejected']);
    expect(work.has('a')).toBe(false);
    expect(await work.join('a', undefined, async () => 9)).toBe(9);
    expect(begun).toBe(1);
  });

  it('is not begun for a caller that is gone', async () => {
    let begun = 0;
    const begin = async () => ++begun;
    await expect(
      new SharedWork<string, number>().join('a', AbortSignal.abort(new Error('gone')), begin),
    ).rejects.toThrow('gone');
    expect(begun).toBe(0);
  });
});
