import { Fork } from '@coppice/vocabulary';
import type { RelationFork } from '@coppice/vocabulary';
import { decodeSmallRecord } from '../redo/small-records';
import { HEAP_BLOCKS_PER_VM_PAGE, VM_ALL_BITS, VM_ALL_FROZEN } from '../redo/visibility-map';
import { Heap2Info, HeapInfo, Rmgr } from '../wal/rmgr';
import { NO_EFFECTS } from './effects';
import type { Effect } from './effects';
import { effectsOf } from './effects-of';
import { bytesOf, makeBlock, makeRecord } from './testing/make-record';

const heap: RelationFork = { tablespace: 1663, database: 5, relation: 16384, fork: Fork.main };
const vm: RelationFork = { ...heap, fork: Fork.vm };
const insertData = (flags: number): Buffer => bytesOf((w) => w.u16le(1).u8(flags));
const lockData = (flags: number): Buffer => bytesOf((w) => w.u32le(700).u16le(1).u8(0).u8(flags));
const updateData = (flags: number): Buffer =>
  bytesOf((w) => w.u32le(700).u16le(1).u8(0).u8(flags).u32le(0).u16le(2));

function smallRecordsOf(effects: readonly Effect[]): unknown[] {
  return effects.map((effect) => ('value' in effect ? decodeSmallRecord(effect.value.bytes) : effect.kind));
}

describe('heap records', () => {
  it('that change no visibility bit share one empty list', () => {
    const insert = makeRecord({
      rmgr: Rmgr.heap,
      info: HeapInfo.insert,
      blocks: [makeBlock(0, heap, 3)],
      mainData: insertData(0),
    });
    expect(effectsOf(insert)).toBe(NO_EFFECTS);
    expect(effectsOf(makeRecord({ rmgr: Rmgr.btree, info: 0 }))).toBe(NO_EFFECTS);
    expect(effectsOf(makeRecord({ rmgr: Rmgr.seq, info: 0 }))).toBe(NO_EFFECTS);
    expect(effectsOf(makeRecord({ rmgr: Rmgr.heap2, info: Heap2Info.visible }))).toBe(NO_EFFECTS);
    expect(effectsOf(makeRecord({ rmgr: Rmgr.heap2, info: Heap2Info.pruneVacuumScan }))).toBe(NO_EFFECTS);
  });

  it.each([
    ['insert', Rmgr.heap, HeapInfo.insert, insertData(1), VM_ALL_BITS],
    ['delete', Rmgr.heap, HeapInfo.delete, lockData(1), VM_ALL_BITS],
    ['lock', Rmgr.heap, HeapInfo.lock, lockData(1), VM_ALL_FROZEN],
    ['multi insert', Rmgr.heap2, Heap2Info.multiInsert, bytesOf((w) => w.u8(1).u8(0).u16le(2)), VM_ALL_BITS],
    [
      'multi insert on a new page',
      Rmgr.heap2,
      Heap2Info.multiInsert | 0x80,
      bytesOf((w) => w.u8(1)),
      VM_ALL_BITS,
    ],
    ['lock of an updated row', Rmgr.heap2, Heap2Info.lockUpdated, lockData(1), VM_ALL_FROZEN],
  ])('%s clears the bits of its block in a map that it does not name', (_, rmgr, info, mainData, flags) => {
    const block = HEAP_BLOCKS_PER_VM_PAGE + 7;
    const effects = effectsOf(makeRecord({ rmgr, info, blocks: [makeBlock(0, heap, block)], mainData }));
    expect(effects).toMatchObject([{ kind: 'change-page', fork: vm, block: 1 }]);
    expect(smallRecordsOf(effects)).toEqual([
      { kind: 'clear-visibility', cleared: [{ heapBlock: block, flags }] },
    ]);
  });

  it('that name the visibility map leave it to redo', () => {
    const blocks = [makeBlock(0, heap, 7), makeBlock(1, vm, 0)];
    expect(
      effectsOf(makeRecord({ rmgr: Rmgr.heap, info: HeapInfo.insert, blocks, mainData: insertData(1) })),
    ).toEqual([]);
    const both = [makeBlock(0, heap, 7), makeBlock(1, heap, 8), makeBlock(2, vm, 0)];
    expect(
      effectsOf(
        makeRecord({ rmgr: Rmgr.heap, info: HeapInfo.update, blocks: both, mainData: updateData(3) }),
      ),
    ).toEqual([]);
  });

  it('an update clears old and new page in one change when one map page holds both', () => {
    const blocks = [makeBlock(0, heap, 9), makeBlock(1, heap, 4)];
    const effects = effectsOf(
      makeRecord({ rmgr: Rmgr.heap, info: HeapInfo.update, blocks, mainData: updateData(3) }),
    );
    const cleared = [4, 9].map((heapBlock) => ({ heapBlock, flags: VM_ALL_BITS }));
    expect(smallRecordsOf(effects)).toEqual([{ kind: 'clear-visibility', cleared }]);
  });

  it('an update clears two map pages when they are two', () => {
    const blocks = [makeBlock(0, heap, HEAP_BLOCKS_PER_VM_PAGE), makeBlock(1, heap, 4)];
    const effects = effectsOf(
      makeRecord({ rmgr: Rmgr.heap, info: HeapInfo.update, blocks, mainData: updateData(3) }),
    );
    expect(effects.map((effect) => 'block' in effect && effect.block)).toEqual([0, 1]);
  });

  it('an update within a page clears the old page, which is the new one', () => {
    for (const flags of [1, 3]) {
      const record = makeRecord({
        rmgr: Rmgr.heap,
        info: HeapInfo.hotUpdate,
        blocks: [makeBlock(0, heap, 9)],
        mainData: updateData(flags),
      });
      expect(smallRecordsOf(effectsOf(record))).toEqual([
        { kind: 'clear-visibility', cleared: [{ heapBlock: 9, flags: VM_ALL_BITS }] },
      ]);
    }
  });

  it('an update whose new page alone was all visible clears the new page', () => {
    const blocks = [makeBlock(0, heap, 9), makeBlock(1, heap, 4)];
    const effects = effectsOf(
      makeRecord({ rmgr: Rmgr.heap, info: HeapInfo.update, blocks, mainData: updateData(2) }),
    );
    expect(smallRecordsOf(effects)).toEqual([
      { kind: 'clear-visibility', cleared: [{ heapBlock: 9, flags: VM_ALL_BITS }] },
    ]);
  });

  it('a rewritten catalog leaves its mapping file for logical decoding', () => {
    const mappings = Buffer.alloc(72, 5);
    const mainData = bytesOf((w) =>
      w
        .u32le(0x2f1)
        .u32le(5)
        .u32le(0x4eb)
        .zeros(4)
        .u64le(36n)
        .u32le(2)
        .zeros(4)
        .u64le(0x1_0a00_0000n)
        .raw(mappings),
    );
    expect(
      effectsOf(makeRecord({ rmgr: Rmgr.heap2, info: Heap2Info.rewrite, xid: 0x300, mainData })),
    ).toEqual([
      {
        kind: 'append-file',
        path: 'pg_logical/mappings/map-5-4eb-1_A000000-2f1-300',
        offset: 36,
        content: mappings,
      },
    ]);
  });
});
