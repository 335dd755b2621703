import {
  Rmgr,
  TransactionStatus,
  XactInfo,
  decodeCheckpointState,
  decodeSlruSegmentSize,
  getMultixactMember,
  getMultixactOffset,
  getTransactionStatus,
} from '@coppice/postgres';
import { CHECKPOINT_KEY, Slru, slruPageKey, slruSegmentSizeKey } from '@coppice/vocabulary';
import { IngestBench, bytesOf } from './testing/start-ingest';

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
