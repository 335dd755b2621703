import {
  CorruptWal,
  Rmgr,
  XactInfo,
  carriedFileKeyOf,
  decodeCarriedFile,
  decodeOriginProgress,
  encodeRelationSize,
} from '@coppice/postgres';
import {
  BLOCK_SIZE,
  CHECKPOINT_KEY,
  Fork,
  databaseKey,
  relationBlockKey,
  relationMapKey,
  relationSizeKey,
  replicationOriginKey,
  twoPhaseKey,
} from '@coppice/vocabulary';
import type { RelationFork } from '@coppice/vocabulary';
import { IngestBench, STATE, blockRef, bytesOf, pageImage } from './testing/start-ingest';

const BTREE = { rmgr: Rmgr.btree, info: 0 };

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
