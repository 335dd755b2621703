import {
  CorruptWal,
  Rmgr,
  TransactionStatus,
  UnsupportedWal,
  VM_ALL_BITS,
  XactInfo,
  XlogInfo,
  carriedFileKeyOf,
  decodeCarriedFile,
  decodeCheckpointState,
  decodeOriginProgress,
  decodeRelationSize,
  decodeSlruSegmentSize,
  encodeRelationSize,
  getMultixactMember,
  getMultixactOffset,
  getTransactionStatus,
  getVmBits,
} from '@coppice/postgres';
import type { BlockImage } from '@coppice/postgres';
import {
  BLOCK_SIZE,
  CHECKPOINT_KEY,
  Fork,
  Slru,
  databaseKey,
  relationBlockKey,
  relationMapKey,
  relationSizeKey,
  replicationOriginKey,
  slruPageKey,
  slruSegmentSizeKey,
  twoPhaseKey,
} from '@coppice/vocabulary';
import type { RelationFork } from '@coppice/vocabulary';
import { IngestBench, STATE, TABLE, blockRef, bytesOf } from './testing/start-ingest';

const VM: RelationFork = { ...TABLE, fork: Fork.vm };
const FSM: RelationFork = { ...TABLE, fork: Fork.fsm };
const BTREE = { rmgr: Rmgr.btree, info: 0 };
const fullImage = (fill: number, apply = true): BlockImage => ({
  bytes: Buffer.alloc(BLOCK_SIZE, fill),
  holeOffset: 0,
  holeLength: 0,
  apply,
  compression: 'none',
});
const SCRATCH: RelationFork = { tablespace: 1663, database: 1, relation: 1, fork: Fork.fsm };
/** A record that makes a whole page, and one that nobody looks at: images of two pages are kept as pages. */
const pageImage = (relation: RelationFork, block: number, fill: number) => ({
  rmgr: Rmgr.xlog,
  info: XlogInfo.fpi,
  blocks: [
    blockRef(block, { relation, image: fullImage(fill) }),
    blockRef(0, { id: 1, relation: SCRATCH, image: fullImage(0) }),
  ],
});
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

describe('databases', () => {
  const of = (database: number, relation = 16384, fork: RelationFork['fork'] = Fork.main): RelationFork => ({
    tablespace: 1663,
    database,
    relation,
    fork,
  });
  const copy = (from: number, to: number) => ({
    rmgr: Rmgr.dbase,
    info: 0x00,
    mainData: bytesOf((w) => w.u32le(to).u32le(1663).u32le(from).u32le(1663)),
  });
  const drop = (database: number) => ({
    rmgr: Rmgr.dbase,
    info: 0x20,
    mainData: bytesOf((w) => w.u32le(database).i32le(1).u32le(1663)),
  });
  const map = Buffer.alloc(524, 3);

  async function withSource(): Promise<IngestBench> {
    const bench = new IngestBench();
    await bench.begin();
    await bench.apply({ rmgr: Rmgr.dbase, info: 0x10, mainData: bytesOf((w) => w.u32le(5).u32le(1663)) });
    await bench.apply({
      rmgr: Rmgr.relmap,
      info: 0x00,
      mainData: bytesOf((w) => w.u32le(5).u32le(1663).i32le(524).raw(map)),
    });
    await bench.apply(pageImage(of(5), 150, 4));
    return bench;
  }

  it('copied as files have every page, map and size of their source as it was', async () => {
    const bench = await withSource();
    await bench.apply(copy(5, 90));
    await bench.apply(pageImage(of(5), 150, 5));
    const { target, lsn } = bench;
    expect(target.peek(relationSizeKey(of(90)), lsn)).toEqual(encodeRelationSize(151));
    expect(target.page(relationBlockKey(of(90), 150), lsn)!.subarray(8)).toEqual(
      Buffer.alloc(BLOCK_SIZE - 8, 4),
    );
    expect(target.page(relationBlockKey(of(90), 7), lsn)).toBeUndefined();
    expect(target.peek(relationMapKey(1663, 90), lsn)).toEqual(map);
    expect(target.peek(databaseKey(1663, 90), lsn)).toBeDefined();
    expect(target.logicalBlocks).toBe(302);
  });

  it('are gone when dropped, and a copy under the same number shows nothing of them', async () => {
    const bench = await withSource();
    await bench.apply(pageImage(of(90), 20, 8));
    await bench.apply(pageImage(of(90, 777), 2, 8));
    await bench.apply(copy(5, 90));
    const { target } = bench;
    expect(target.page(relationBlockKey(of(90), 20), bench.lsn)).toBeUndefined();
    expect(target.peek(relationSizeKey(of(90, 777)), bench.lsn)).toBeUndefined();
    expect(target.logicalBlocks).toBe(302);
    await bench.apply(drop(90));
    for (const key of [relationSizeKey(of(90)), relationMapKey(1663, 90), databaseKey(1663, 90)])
      expect(target.peek(key, bench.lsn)).toBeUndefined();
    expect(target.logicalBlocks).toBe(151);
    await bench.apply({ ...BTREE, blocks: [blockRef(0, { relation: of(90) })] });
    expect(target.peek(relationSizeKey(of(90)), bench.lsn)).toEqual(encodeRelationSize(1));
  });
});

describe('SLRUs', () => {
  let bench: IngestBench;
  beforeEach(async () => {
    bench = new IngestBench();
    await bench.begin();
  });
  const segment = (slru: 0 | 1 | 2, number: number): number | undefined => {
    const bytes = bench.target.peek(slruSegmentSizeKey(slru, number), bench.lsn);
    return bytes && decodeSlruSegmentSize(bytes);
  };
  const zero = (rmgr: number, info: number, page: number) =>
    bench.apply({ rmgr, info, mainData: bytesOf((w) => w.i64le(BigInt(page))) });
  const create = (multixact: number, offset: number) =>
    bench.apply({
      rmgr: Rmgr.multixact,
      info: 0x20,
      mainData: bytesOf((w) =>
        w.u32le(multixact).u32le(offset).i32le(2).u32le(700).i32le(1).u32le(701).i32le(4),
      ),
    });
  const pageOf = (slru: 0 | 1 | 2, page: number): Buffer | undefined =>
    bench.target.page(slruPageKey(slru, page), bench.lsn);

  it('grow by pages of zeros, and hold what transactions set', async () => {
    await zero(Rmgr.clog, 0x00, 0);
    expect(
      await bench.apply({ rmgr: Rmgr.xact, info: XactInfo.commit, xid: 801, mainData: Buffer.alloc(8) }),
    ).toBe('at once');
    await bench.apply({ rmgr: Rmgr.xact, info: XactInfo.abort, xid: 802, mainData: Buffer.alloc(8) });
    const page = pageOf(Slru.xact, 0)!;
    expect([800, 801, 802].map((xid) => getTransactionStatus(page, xid))).toEqual([
      TransactionStatus.inProgress,
      TransactionStatus.committed,
      TransactionStatus.aborted,
    ]);
    expect(segment(Slru.xact, 0)).toBe(1);
  });

  it('a page that is set before it is zeroed starts from zeros', async () => {
    await create(2047, 10);
    expect([segment(Slru.multixactOffsets, 0), segment(Slru.multixactMembers, 0)]).toEqual([2, 1]);
    await zero(Rmgr.multixact, 0x00, 1);
    expect(getMultixactOffset(pageOf(Slru.multixactOffsets, 0)!, 2047)).toBe(10);
    expect(getMultixactOffset(pageOf(Slru.multixactOffsets, 1)!, 2048)).toBe(12);
    expect(getMultixactMember(pageOf(Slru.multixactMembers, 0)!, 11)).toEqual({ xid: 701, status: 4 });
  });

  it('a removed segment that comes back shows nothing of its earlier life', async () => {
    await create(5, 10);
    await bench.apply({
      rmgr: Rmgr.multixact,
      info: 0x30,
      mainData: bytesOf((w) =>
        w
          .u32le(1)
          .u32le(1)
          .u32le(6)
          .u32le(0)
          .u32le(1636 * 32),
      ),
    });
    expect(segment(Slru.multixactMembers, 0)).toBeUndefined();
    await create(6, 1636 + 3);
    expect(segment(Slru.multixactMembers, 0)).toBe(2);
    expect(pageOf(Slru.multixactMembers, 0)).toBeUndefined();
    expect(getMultixactMember(pageOf(Slru.multixactMembers, 1)!, 1636 + 3)).toEqual({ xid: 700, status: 1 });
  });

  it('a page of a removed segment starts from zeros when it is set again', async () => {
    await create(5, 10);
    await bench.apply({
      rmgr: Rmgr.multixact,
      info: 0x30,
      mainData: bytesOf((w) =>
        w
          .u32le(1)
          .u32le(1)
          .u32le(6)
          .u32le(0)
          .u32le(1636 * 32),
      ),
    });
    await create(6, 20);
    const page = pageOf(Slru.multixactMembers, 0)!;
    expect(getMultixactMember(page, 10)).toEqual({ xid: 0, status: 0 });
    expect(getMultixactMember(page, 20)).toEqual({ xid: 700, status: 1 });
  });

  it('pg_xact segments older than the cutoff go, others stay', async () => {
    for (const page of [0, 31, 32, 64]) await zero(Rmgr.clog, 0x00, page);
    await bench.apply({
      rmgr: Rmgr.heap,
      info: 0,
      xid: 65 * 32768,
      mainData: bytesOf((w) => w.u16le(0).u8(0)),
    });
    await bench.apply({
      rmgr: Rmgr.clog,
      info: 0x10,
      mainData: bytesOf((w) =>
        w
          .i64le(64n)
          .u32le(64 * 32768)
          .u32le(5),
      ),
    });
    expect([0, 1, 2].map((number) => segment(Slru.xact, number))).toEqual([undefined, undefined, 1]);
    const state = decodeCheckpointState(bench.target.peek(CHECKPOINT_KEY, bench.lsn)!);
    expect(state).toMatchObject({ oldestXid: 64 * 32768, oldestXidDb: 5 });
  });

  it('a cutoff that makes the newest page look old removes nothing', async () => {
    for (const page of [0, 32]) await zero(Rmgr.clog, 0x00, page);
    await bench.apply({
      rmgr: Rmgr.clog,
      info: 0x10,
      mainData: bytesOf((w) =>
        w
          .i64le(64n)
          .u32le(64 * 32768)
          .u32le(5),
      ),
    });
    expect(segment(Slru.xact, 0)).toBe(1);
  });
});

describe('other state', () => {
  const prepare = (xid: number): Buffer =>
    bytesOf((w) =>
      w
        .u32le(0x57f94534)
        .u32le(72 + 4)
        .u32le(xid)
        .zeros(28)
        .i32le(0)
        .zeros(10)
        .u16le(0)
        .u64le(0n)
        .zeros(8),
    );

  it('a prepared transaction is kept under its 64-bit id until it ends', async () => {
    const bench = new IngestBench();
    await bench.begin({ ...STATE, nextXidEpoch: 2, nextXid: 900 });
    await bench.apply({ rmgr: Rmgr.xact, info: XactInfo.prepare, xid: 801, mainData: prepare(801) });
    const key = twoPhaseKey((2n << 32n) | 801n);
    expect(bench.target.peek(key, bench.lsn)).toEqual(prepare(801));
    await bench.apply({
      rmgr: Rmgr.xact,
      info: XactInfo.prepare,
      xid: 0xfffffff0,
      mainData: prepare(0xfffffff0),
    });
    expect(bench.target.peek(twoPhaseKey((1n << 32n) | 0xfffffff0n), bench.lsn)).toBeDefined();
    await bench.apply({
      rmgr: Rmgr.xact,
      info: XactInfo.commitPrepared | 0x80,
      mainData: bytesOf((w) => w.i64le(1n).u32le(16).u32le(801)),
    });
    expect(bench.target.peek(key, bench.lsn)).toBeUndefined();
  });

  it('progress of an origin goes forward, back only when forced, and away when dropped', async () => {
    const bench = new IngestBench();
    await bench.begin();
    const set = (lsn: bigint, force: number) =>
      bench.apply({
        rmgr: Rmgr.replorigin,
        info: 0x00,
        mainData: bytesOf((w) => w.u64le(lsn).u16le(3).u8(force)),
      });
    const progress = (): bigint =>
      decodeOriginProgress(bench.target.peek(replicationOriginKey(3), bench.lsn)!);
    await set(100n, 0);
    await set(50n, 0);
    expect(progress()).toBe(100n);
    await set(50n, 1);
    expect(progress()).toBe(50n);
    await bench.apply({ rmgr: Rmgr.replorigin, info: 0x10, mainData: bytesOf((w) => w.u16le(3)) });
    expect(bench.target.peek(replicationOriginKey(3), bench.lsn)).toBeUndefined();
  });

  it('a mapping file is cut where the record continues it, and a hole in it is corrupt', async () => {
    const bench = new IngestBench();
    await bench.begin();
    const mapping = (offset: bigint, fill: number) => ({
      rmgr: Rmgr.heap2,
      info: 0x00,
      xid: 801,
      mainData: bytesOf((w) =>
        w
          .u32le(1)
          .u32le(5)
          .u32le(1259)
          .zeros(4)
          .i64le(offset)
          .u32le(1)
          .zeros(4)
          .u64le(9n)
          .raw(Buffer.alloc(36, fill)),
      ),
    });
    await bench.apply(mapping(0n, 1));
    await bench.apply(mapping(36n, 2));
    await bench.apply(mapping(36n, 3));
    const bytes = bench.target.peek(carriedFileKeyOf('pg_logical/mappings/map-5-4eb-0_9-1-321'), bench.lsn)!;
    expect(decodeCarriedFile(bytes).content).toEqual(
      Buffer.concat([Buffer.alloc(36, 1), Buffer.alloc(36, 3)]),
    );
    await expect(bench.apply(mapping(108n, 4))).rejects.toThrow(CorruptWal);
  });

  it('the checkpoint state is put when it changes, not with every transaction', async () => {
    const bench = new IngestBench();
    await bench.begin();
    for (let xid = 800; xid < 1200; xid++)
      await bench.apply({ rmgr: Rmgr.xact, info: XactInfo.commit, xid, mainData: Buffer.alloc(8) });
    expect(bench.target.versions.get(CHECKPOINT_KEY)!.length).toBeLessThan(7);
  });

  it('a timeline without checkpoint state is not ingested', async () => {
    const { TimelineIngest } = await import('./timeline-ingest');
    await expect(TimelineIngest.start(new IngestBench().target, 5)).rejects.toMatchObject({
      code: 'no-checkpoint',
    });
  });
});
