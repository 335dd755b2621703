import {
  Rmgr,
  UnsupportedWal,
  VM_ALL_BITS,
  XactInfo,
  XlogInfo,
  decodeRelationSize,
  getVmBits,
} from '@coppice/postgres';
import { BLOCK_SIZE, Fork, relationBlockKey, relationSizeKey } from '@coppice/vocabulary';
import type { RelationFork } from '@coppice/vocabulary';
import { IngestBench, TABLE, blockRef, bytesOf, fullImage, pageImage } from './testing/start-ingest';

const VM: RelationFork = { ...TABLE, fork: Fork.vm };
const FSM: RelationFork = { ...TABLE, fork: Fork.fsm };
const BTREE = { rmgr: Rmgr.btree, info: 0 };
const smgrTruncate = (blocks: number, flags = 7) => ({
  rmgr: Rmgr.smgr,
  info: 0x20,
  mainData: bytesOf((w) => w.u32le(blocks).u32le(1663).u32le(5).u32le(16384).i32le(flags)),
});
const commitDropping = (relation: number) => ({
  rmgr: Rmgr.xact,
  info: XactInfo.commit | 0x80,
  xid: 801,
  mainData: bytesOf((w) => w.i64le(1n).u32le(4).i32le(1).u32le(1663).u32le(5).u32le(relation)),
});

describe('blocks', () => {
  let bench: IngestBench;
  beforeEach(async () => {
    bench = new IngestBench();
    await bench.begin();
  });
  const sizeOf = (fork: RelationFork, lsn = bench.lsn): number | undefined => {
    const bytes = bench.target.peek(relationSizeKey(fork), lsn);
    return bytes && decodeRelationSize(bytes);
  };
  const versionsOf = (block: number, fork = TABLE) =>
    bench.target.versions.get(relationBlockKey(fork, block)) ?? [];

  it('make their relation, and make it grow, at the end of the record', async () => {
    const before = bench.lsn;
    expect(await bench.apply({ ...BTREE, blocks: [blockRef(0)] })).toBe('later');
    expect(await bench.apply({ ...BTREE, blocks: [blockRef(1)] })).toBe('at once');
    expect([before, before + 0x40, before + 0x80].map((lsn) => sizeOf(TABLE, lsn))).toEqual([
      undefined,
      1,
      2,
    ]);
    expect(bench.target.finished).toEqual({ lsn: before + 0x40, endLsn: before + 0x80 });
    expect(bench.target.logicalBlocks).toBe(2);
  });

  it('within the relation put one version and no size', async () => {
    await bench.apply({ ...BTREE, blocks: [blockRef(3)] });
    const puts = bench.target.puts;
    expect(await bench.apply({ ...BTREE, blocks: [blockRef(2)] })).toBe('at once');
    expect(bench.target.puts).toBe(puts + 1);
    expect(versionsOf(2).at(-1)).toMatchObject({ lsn: bench.lsn, value: { kind: 'wal', willInit: false } });
  });

  it('skipped by an extension are pages of zeros, also where an earlier life had content', async () => {
    await bench.apply(pageImage(TABLE, 4, 9));
    await bench.apply(pageImage(TABLE, 3, 9));
    await bench.apply(smgrTruncate(1));
    await bench.apply({ ...BTREE, blocks: [blockRef(5)] });
    expect(sizeOf(TABLE)).toBe(6);
    for (const block of [1, 2, 3, 4])
      expect(bench.target.page(relationBlockKey(TABLE, block), bench.lsn)).toBeUndefined();
  });

  it('beyond the size start from zeros, whatever the record says', async () => {
    await bench.apply({ ...BTREE, blocks: [blockRef(0)] });
    expect(versionsOf(0)[0]!.value).toMatchObject({ kind: 'wal', willInit: true });
    await bench.apply({ ...BTREE, blocks: [blockRef(0)] });
    expect(versionsOf(0)[1]!.value).toMatchObject({ willInit: false });
  });

  it('added by one record in descending order are each written once', async () => {
    await bench.apply({
      ...BTREE,
      blocks: [blockRef(2, { id: 0 }), blockRef(0, { id: 1 }), blockRef(1, { id: 2 })],
    });
    expect(sizeOf(TABLE)).toBe(3);
    for (const block of [0, 1, 2])
      expect(versionsOf(block)).toMatchObject([{ value: { kind: 'wal', willInit: true } }]);
  });

  it('further beyond the size than any index grows stop ingest', async () => {
    await expect(bench.apply({ ...BTREE, blocks: [blockRef(0xfffffffe)] })).rejects.toThrow(UnsupportedWal);
    expect(bench.target.finished.endLsn).toBe(0);
  });

  it('of a record with several images are kept as pages of their own', async () => {
    const blocks = [blockRef(0, { id: 0, image: fullImage(1) }), blockRef(1, { id: 1, image: fullImage(2) })];
    await bench.apply({ rmgr: Rmgr.xlog, info: XlogInfo.fpi, blocks });
    const page = bench.target.page(relationBlockKey(TABLE, 1), bench.lsn)!;
    expect(versionsOf(1)).toMatchObject([{ value: { kind: 'image' } }]);
    expect(page.subarray(8)).toEqual(Buffer.alloc(BLOCK_SIZE - 8, 2));
    expect(page.readUInt32LE(4)).toBe(bench.lsn);
  });

  it('with an image for checks only keep the record, unless redo takes that image', async () => {
    const blocks = [
      blockRef(0, { id: 0, image: fullImage(1, false) }),
      blockRef(1, { id: 1, image: fullImage(2, false) }),
    ];
    await bench.apply({ ...BTREE, blocks });
    expect(versionsOf(0)).toMatchObject([{ value: { kind: 'wal' } }]);
    await bench.apply({ rmgr: Rmgr.brin, info: 0x10, blocks });
    expect(versionsOf(0).at(-1)).toMatchObject({ value: { kind: 'image' } });
  });

  it('that a hint record names without an image do not change', async () => {
    await bench.apply({ rmgr: Rmgr.xlog, info: XlogInfo.fpiForHint, blocks: [blockRef(0)] });
    expect(versionsOf(0)).toEqual([]);
    expect(sizeOf(TABLE)).toBeUndefined();
  });

  it('of the visibility map are cleared by heap records, and a map that is too short is left alone', async () => {
    const insert = {
      rmgr: Rmgr.heap,
      info: 0,
      blocks: [blockRef(0)],
      mainData: bytesOf((w) => w.u16le(1).u8(1)),
    };
    await bench.apply(insert);
    expect(versionsOf(0, VM)).toEqual([]);
    await bench.apply(pageImage(VM, 0, 0xff));
    expect(getVmBits(bench.target.page(relationBlockKey(VM, 0), bench.lsn)!, 0)).toBe(VM_ALL_BITS);
    await bench.apply(insert);
    const page = bench.target.page(relationBlockKey(VM, 0), bench.lsn)!;
    expect([0, 1].map((block) => getVmBits(page, block))).toEqual([0, VM_ALL_BITS]);
  });

  it('truncated take the tails of both maps with them', async () => {
    await bench.apply({ ...BTREE, blocks: [blockRef(9000)] });
    await bench.apply(pageImage(FSM, 4, 0xff));
    await bench.apply(pageImage(VM, 0, 0xff));
    await bench.apply(smgrTruncate(100));
    expect([TABLE, FSM, VM].map((fork) => sizeOf(fork))).toEqual([100, 3, 1]);
    expect(bench.target.page(relationBlockKey(FSM, 2), bench.lsn)).toBeUndefined();
    const page = bench.target.page(relationBlockKey(VM, 0), bench.lsn)!;
    expect([99, 100, 101, 5000].map((block) => getVmBits(page, block))).toEqual([VM_ALL_BITS, 0, 0, 0]);
    expect(bench.target.logicalBlocks).toBe(100);
  });

  it('a truncation never makes a fork longer, and makes a relation that is missing', async () => {
    await bench.apply(smgrTruncate(100));
    expect(sizeOf(TABLE)).toBe(0);
    expect(sizeOf(VM)).toBeUndefined();
  });

  it('of a dropped relation go with all its forks when the transaction ends', async () => {
    await bench.apply({
      ...BTREE,
      blocks: [blockRef(0), blockRef(0, { id: 1, relation: VM }), blockRef(0, { id: 2, relation: FSM })],
    });
    const before = bench.lsn;
    await bench.apply(commitDropping(16384));
    expect([TABLE, VM, FSM].map((fork) => sizeOf(fork))).toEqual([undefined, undefined, undefined]);
    expect([TABLE, VM, FSM].map((fork) => sizeOf(fork, before))).toEqual([1, 1, 1]);
    expect(bench.target.logicalBlocks).toBe(0);
  });

  it('keep their relations apart by database', async () => {
    const other = { ...TABLE, database: 6 };
    await bench.apply({ ...BTREE, blocks: [blockRef(0), blockRef(2, { id: 1, relation: other })] });
    expect([TABLE, other].map((fork) => sizeOf(fork))).toEqual([1, 3]);
  });

  it('of more relations than are remembered keep exact sizes', async () => {
    for (let relation = 1; relation <= 4500; relation++)
      await bench.apply({ ...BTREE, blocks: [blockRef(0, { relation: { ...TABLE, relation } })] });
    for (const relation of [1, 4500]) {
      await bench.apply({ ...BTREE, blocks: [blockRef(1, { relation: { ...TABLE, relation } })] });
      expect(sizeOf({ ...TABLE, relation })).toBe(2);
    }
    expect(bench.target.logicalBlocks).toBe(4502);
  });
});
