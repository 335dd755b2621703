import { Batches } from './batches';

interface Run {
  readonly items: readonly string[];
  readonly end: (error?: Error) => void;
}

/** Batches whose runs end when the test says so. Items of one first letter go together; their results are in upper case. */
function batches(over: { readonly maxBatch?: number; readonly maxWaiting?: number } = {}) {
  const runs: Run[] = [];
  const made = new Batches<string, string>({
    keyOf: (item) => item[0]!,
    maxBatch: over.maxBatch ?? 10,
    maxWaiting: over.maxWaiting ?? 10,
    run: (items) => {
      let end!: Run['end'];
      const over = new Promise<void>((resolve, reject) => {
        end = (error) => (error ? reject(error) : resolve());
      });
      runs.push({ items, end });
      return items.map((item) => over.then(() => item.toUpperCase()));
    },
  });
  const ran = (): string[] => runs.map((r) => r.items.join(' '));
  return { made, runs, ran };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('batches', () => {
  it('starts the first item at once and those that came meanwhile together after it', async () => {
    const { made, runs, ran } = batches();
    const results = ['a1', 'a2', 'a3'].map((item) => made.add(item));
    expect(ran()).toEqual(['a1']);
    runs[0]!.end();
    expect(await results[0]).toBe('A1');
    await turn();
    expect(ran()).toEqual(['a1', 'a2 a3']);
    runs[1]!.end();
    expect(await Promise.all(results)).toEqual(['A1', 'A2', 'A3']);
  });

  it('does not let an item join what began before it came', async () => {
    const { made, runs, ran } = batches();
    void made.add('a1');
    void made.add('a2');
    runs[0]!.end();
    await turn();
    void made.add('a3');
    expect(ran()).toEqual(['a1', 'a2']);
  });

  it('keeps keys apart, and forgets a key that nobody waits for', async () => {
    const { made, runs, ran } = batches();
    void made.add('a1');
    void made.add('b1');
    expect(ran()).toEqual(['a1', 'b1']);
    runs[0]!.end();
    await turn();
    void made.add('a2');
    expect(ran()).toEqual(['a1', 'b1', 'a2']);
  });

  it('takes no more than so many at one go', async () => {
    const { made, runs, ran } = batches({ maxBatch: 2 });
    for (const item of ['a1', 'a2', 'a3', 'a4']) void made.add(item);
    runs[0]!.end();
    await turn();
    runs[1]!.end();
    await turn();
    expect(ran()).toEqual(['a1', 'a2 a3', 'a4']);
  });

  it('goes on after a batch that failed', async () => {
    const { made, runs } = batches();
    const failed = made.add('a1');
    const fine = made.add('a2');
    runs[0]!.end(new Error('no'));
    await expect(failed).rejects.toThrow('no');
    await turn();
    runs[1]!.end();
    expect(await fine).toBe('A2');
  });

  it('goes on after work that could not even begin', async () => {
    let broken = true;
    const made = new Batches<string, string>({
      keyOf: () => 'a',
      maxBatch: 10,
      run: (items) => {
        if (broken) throw new Error('no');
        return items.map((item) => Promise.resolve(item));
      },
    });
    await expect(made.add('a1')).rejects.toThrow('no');
    broken = false;
    expect(await made.add('a2')).toBe('a2');
  });

  it('refuses more in line than so many', async () => {
    const { made } = batches({ maxWaiting: 1 });
    void made.add('a1');
    void made.add('a2');
    await expect(made.add('a3')).rejects.toMatchObject({ code: 'queue-full' });
    expect(made.waiting).toBe(1);
    void made.add('b1');
  });
});
