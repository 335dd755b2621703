import fc from 'fast-check';
import { byRanges } from './by-ranges';

interface Item {
  readonly id: string;
  readonly list: number;
}

async function* pagesOf(items: readonly Item[], size: number): AsyncGenerator<readonly Item[]> {
  for (let at = 0; at < items.length; at += size) yield items.slice(at, at + size);
}

const ids = fc.uniqueArray(
  fc.integer({ min: 0, max: 60 }).map((n) => String(n).padStart(2, '0')),
  { maxLength: 30 },
);
const lists = fc.array(fc.record({ ids, size: fc.integer({ min: 1, max: 7 }) }), {
  minLength: 1,
  maxLength: 5,
});

async function rangesOf(
  of: readonly { readonly ids: readonly string[]; readonly size: number }[],
): Promise<Item[][][]> {
  const ranges: Item[][][] = [];
  const sorted = of.map(({ ids: some, size }, list) => {
    const items = [...some].sort().map((id) => ({ id, list }));
    return { pages: pagesOf(items, size), idOf: (item: Item) => item.id };
  });
  for await (const range of byRanges<Item[]>(sorted)) ranges.push(range.map((items) => [...items]));
  return ranges;
}

describe('going through sorted lists by ranges', () => {
  it('yields every item of every list once, in order', async () => {
    await fc.assert(
      fc.asyncProperty(lists, async (of) => {
        const ranges = await rangesOf(of);
        of.forEach(({ ids: some }, list) =>
          expect(ranges.flatMap((range) => range[list]!.map((i) => i.id))).toEqual([...some].sort()),
        );
      }),
    );
  });

  it('yields what has one id in one range, and never more than a page of a list', async () => {
    await fc.assert(
      fc.asyncProperty(lists, async (of) => {
        const ranges = await rangesOf(of);
        const seen = new Set<string>();
        for (const range of ranges) {
          range.forEach((items, list) => expect(items.length).toBeLessThanOrEqual(of[list]!.size));
          const here = new Set(range.flat().map((i) => i.id));
          for (const id of here) expect(seen.has(id)).toBe(false);
          here.forEach((id) => seen.add(id));
        }
      }),
    );
  });
});
