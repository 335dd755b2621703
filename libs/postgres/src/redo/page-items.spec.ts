import { DamagedPage } from './little-endian';
import {
  ItemFlag,
  PageFlag,
  initPage,
  itemFlags,
  itemLength,
  itemOffset,
  linePointer,
  maxOffset,
  pageFlags,
  pageLower,
  pagePruneXid,
  pageUpper,
  setLinePointer,
  setPrunable,
} from './page-header';
import {
  deleteIndexItems,
  insertItem,
  overwriteIndexItem,
  repairFragmentation,
  reserveHeapItem,
  truncateLinePointers,
} from './page-items';

/** A page whose items are these texts, in order. */
function pageOf(...items: string[]): Buffer {
  const page = Buffer.alloc(8192);
  initPage(page, 0);
  items.forEach((text, i) => insertItem(page, i + 1, Buffer.from(text), 0, text.length));
  return page;
}

function textsOf(page: Buffer): string[] {
  return Array.from({ length: maxOffset(page) }, (_, i) => {
    const pointer = linePointer(page, i + 1);
    if (itemFlags(pointer) !== ItemFlag.normal) return '-';
    return page.toString('latin1', itemOffset(pointer), itemOffset(pointer) + itemLength(pointer));
  });
}

function remove(page: Buffer, ...offnums: number[]): void {
  for (const offnum of offnums) setLinePointer(page, offnum, 0, ItemFlag.unused, 0);
}

function offsets(...offnums: number[]): Buffer {
  const bytes = Buffer.alloc(offnums.length * 2);
  offnums.forEach((offnum, i) => bytes.writeUInt16LE(offnum, i * 2));
  return bytes;
}

const freeLines = (page: Buffer): boolean => (pageFlags(page) & PageFlag.hasFreeLines) !== 0;

describe('items of a page', () => {
  it('stand in the order of their offset numbers, whatever the order of insertion', () => {
    const page = pageOf('a', 'ccc');
    insertItem(page, 2, Buffer.from('bb'), 0, 2);
    expect(textsOf(page)).toEqual(['a', 'bb', 'ccc']);
    expect(pageUpper(page)).toBe(8192 - 24);
  });

  it('take the place of an unused line pointer, never of a used one', () => {
    const page = pageOf('aaaa', 'bbbb');
    expect(() => reserveHeapItem(page, 1, 8)).toThrow(DamagedPage);
    remove(page, 1);
    expect(reserveHeapItem(page, 1, 8)).toBe(8192 - 24);
    expect(() => reserveHeapItem(page, 4, 8)).toThrow('offset number 4 of a page with 2');
  });

  it('do not fit when the page is full', () => {
    const page = pageOf('x'.repeat(8100));
    expect(() => reserveHeapItem(page, 2, 100)).toThrow('no room');
  });

  it('are packed by repairing, and trailing line pointers go', () => {
    const page = pageOf('one', 'two', 'three', 'four', 'five');
    remove(page, 2, 5);
    repairFragmentation(page);
    expect(textsOf(page)).toEqual(['one', '-', 'three', 'four']);
    expect(pageUpper(page)).toBe(8192 - 24);
    expect(freeLines(page)).toBe(true);
  });

  it('leave no hint of free line pointers when only trailing ones went', () => {
    const page = pageOf('one', 'two');
    remove(page, 2);
    repairFragmentation(page);
    expect([textsOf(page), freeLines(page)]).toEqual([['one'], false]);
  });

  it('that are out of order in the page are put in order by repairing', () => {
    const page = pageOf('aaaaaaaaa', 'b', 'c');
    remove(page, 1);
    const at = reserveHeapItem(page, 1, 2);
    page.write('AA', at);
    repairFragmentation(page);
    expect(textsOf(page)).toEqual(['AA', 'b', 'c']);
    expect(itemOffset(linePointer(page, 1))).toBeGreaterThan(itemOffset(linePointer(page, 2)));
  });

  it('lose unused line pointers at the end by truncation, but for the first', () => {
    const page = pageOf('a', 'b', 'c');
    remove(page, 2, 3);
    truncateLinePointers(page);
    expect([maxOffset(page), freeLines(page)]).toEqual([1, false]);
    remove(page, 1);
    truncateLinePointers(page);
    expect([maxOffset(page), freeLines(page)]).toEqual([1, true]);
  });

  it.each([[[2]], [[1, 3]], [[1, 2, 4]], [[1, 2, 3, 4, 5]]])(
    'of an index are deleted with their line pointers: %j',
    (gone) => {
      const all = ['a', 'bbbbbbbbbbbb', 'cc', 'ddddddddd', 'e'];
      const page = pageOf(...all);
      deleteIndexItems(page, offsets(...gone), 0, gone.length);
      expect(textsOf(page)).toEqual(all.filter((_, i) => !gone.includes(i + 1)));
      expect(pageLower(page)).toBe(24 + 4 * (5 - gone.length));
    },
  );

  it('of an index are not deleted out of order', () => {
    const page = pageOf('a', 'b', 'c', 'd');
    expect(() => deleteIndexItems(page, offsets(3, 1, 2), 0, 3)).toThrow('1 found in order');
  });

  it.each([['b'], ['bb'.repeat(20)], ['bbbbbbbb']])(
    'of an index are overwritten by %j and the others stay',
    (text) => {
      const page = pageOf('aaaaaaaaaaaaa', 'bbbbbbbb', 'ccccc');
      overwriteIndexItem(page, 2, Buffer.from(text), text.length);
      expect(textsOf(page)).toEqual(['aaaaaaaaaaaaa', text, 'ccccc']);
    },
  );
});

describe('the prune hint of a page', () => {
  it('is the oldest transaction in circular order', () => {
    const page = pageOf('a');
    setPrunable(page, 100);
    setPrunable(page, 200);
    expect(pagePruneXid(page)).toBe(100);
    setPrunable(page, 4_294_967_000);
    expect(pagePruneXid(page)).toBe(4_294_967_000);
  });
});
