import { BLOCK_SIZE, Slru } from '@coppice/vocabulary';
import { HEAP_BLOCKS_PER_VM_PAGE, VM_ALL_BITS, getVmBits } from '../redo/visibility-map';
import { FSM_SLOTS_PER_PAGE, clearVisibilityTail, freeSpaceMapTail, visibilityMapTail } from './fork-tails';
import { slruPagePrecedes, slruSegmentPrecedes } from './slru-order';
import { fullXid, multixactPrecedes, xidPrecedes } from './transaction-id';

describe('transaction ids', () => {
  it('are older than those within 2^31 steps after them', () => {
    expect(xidPrecedes(100, 200)).toBe(true);
    expect(xidPrecedes(0xfffffff0, 10)).toBe(true);
    expect(xidPrecedes(10, 0xfffffff0)).toBe(false);
    expect(multixactPrecedes(0xffffffff, 1)).toBe(true);
  });

  it('below 3 are older than all others', () => {
    expect(xidPrecedes(2, 0xf0000000)).toBe(true);
    expect(xidPrecedes(0xf0000000, 2)).toBe(false);
  });

  it('get the epoch of the next id, or the one before when they are above it', () => {
    expect(fullXid(100, { epoch: 3, xid: 200 })).toBe((3n << 32n) | 100n);
    expect(fullXid(0xfffffff0, { epoch: 3, xid: 200 })).toBe((2n << 32n) | 0xfffffff0n);
  });
});

describe('SLRU truncation', () => {
  it('removes only segments that are wholly older than the page', () => {
    expect(slruSegmentPrecedes(Slru.xact, 0, 32)).toBe(true);
    expect(slruSegmentPrecedes(Slru.xact, 0, 31)).toBe(false);
    expect(slruSegmentPrecedes(Slru.xact, 1, 32)).toBe(false);
  });

  it('knows pages around the end of the ids', () => {
    const last = 131071;
    expect(slruPagePrecedes(Slru.xact, last, 0)).toBe(true);
    expect(slruPagePrecedes(Slru.xact, 0, last)).toBe(false);
    expect(slruPagePrecedes(Slru.multixactOffsets, 2 ** 21 - 1, 3)).toBe(true);
    expect(slruSegmentPrecedes(Slru.multixactOffsets, 65535, 40)).toBe(true);
  });
});

describe('the maps of a heap that is cut', () => {
  it('keep the page that is shared with what is gone', () => {
    expect(visibilityMapTail(0)).toEqual({ blocks: 0, lastIsShared: false });
    expect(visibilityMapTail(1)).toEqual({ blocks: 1, lastIsShared: true });
    expect(visibilityMapTail(HEAP_BLOCKS_PER_VM_PAGE)).toEqual({ blocks: 1, lastIsShared: false });
  });

  it('count the upper pages of the free space map', () => {
    expect(FSM_SLOTS_PER_PAGE).toBe(4069);
    expect(freeSpaceMapTail(0)).toEqual({ blocks: 2, lastIsShared: false });
    expect(freeSpaceMapTail(1)).toEqual({ blocks: 3, lastIsShared: true });
    expect(freeSpaceMapTail(4069)).toEqual({ blocks: 3, lastIsShared: false });
    expect(freeSpaceMapTail(4070)).toEqual({ blocks: 4, lastIsShared: true });
    expect(freeSpaceMapTail(4069 * 4069)).toEqual({ blocks: 4069 + 3, lastIsShared: false });
  });

  it('forget the bits of blocks from the cut on, and no others', () => {
    for (const cut of [1, 2, 3, 4, 5, 4001, HEAP_BLOCKS_PER_VM_PAGE - 1, HEAP_BLOCKS_PER_VM_PAGE + 6]) {
      const page = Buffer.alloc(BLOCK_SIZE, 0xff);
      const first = Math.floor(cut / HEAP_BLOCKS_PER_VM_PAGE) * HEAP_BLOCKS_PER_VM_PAGE;
      clearVisibilityTail(page, cut);
      for (let block = first; block < first + HEAP_BLOCKS_PER_VM_PAGE; block++) {
        if (getVmBits(page, block) !== (block < cut ? VM_ALL_BITS : 0))
          throw new Error(`bits of block ${block} after a cut at ${cut}`);
      }
    }
  });
});
