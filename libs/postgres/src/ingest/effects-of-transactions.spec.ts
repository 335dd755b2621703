import { Slru } from '@coppice/vocabulary';
import { decodeSmallRecord } from '../redo/small-records';
import { TransactionStatus } from '../redo/slru-layout';
import { CorruptWal } from '../wal/corrupt-wal';
import { Rmgr, XactInfo } from '../wal/rmgr';
import { NO_EFFECTS } from './effects';
import type { Effect } from './effects';
import { effectsOf } from './effects-of';
import { bytesOf, makeRecord } from './testing/make-record';

function smallRecordsOf(effects: readonly Effect[]): unknown[] {
  return effects.map((effect) => ('value' in effect ? decodeSmallRecord(effect.value.bytes) : effect.kind));
}

describe('ends of transactions', () => {
  const time = 8_000_000_000_000_000n;
  const end = (info: number, mainData: Buffer, xid = 700, origin = 0): readonly Effect[] =>
    effectsOf(makeRecord({ rmgr: Rmgr.xact, info, xid, mainData, origin }));

  it('a plain commit sets its status and its time', () => {
    const effects = end(
      XactInfo.commit,
      bytesOf((w) => w.i64le(time)),
    );
    expect(effects).toMatchObject([
      { kind: 'change-slru-page', slru: Slru.xact, page: 0 },
      { kind: 'commit-time', micros: time },
    ]);
    expect(smallRecordsOf(effects)[0]).toEqual({
      kind: 'transaction-status',
      status: TransactionStatus.committed,
      xids: [700],
    });
  });

  it('an abort sets its status and no time', () => {
    const effects = end(
      XactInfo.abort,
      bytesOf((w) => w.i64le(time)),
    );
    expect(smallRecordsOf(effects)).toEqual([
      { kind: 'transaction-status', status: TransactionStatus.aborted, xids: [700] },
    ]);
  });

  it('every part of a commit is read past, whatever is in it', () => {
    const xinfo = 1 | 2 | 4 | 8 | 32 | 256;
    const mainData = bytesOf((w) =>
      w
        .i64le(time)
        .u32le(xinfo)
        .zeros(8)
        .i32le(2)
        .u32le(32767)
        .u32le(32768)
        .i32le(1)
        .u32le(1663)
        .u32le(5)
        .u32le(16400)
        .i32le(1)
        .zeros(12)
        .i32le(2)
        .zeros(32)
        .u64le(0x77n)
        .i64le(time),
    );
    const effects = end(XactInfo.commit | 0x80, mainData, 700, 3);
    expect(effects.map((effect) => effect.kind)).toEqual([
      'change-slru-page',
      'change-slru-page',
      'commit-time',
      'advance-origin',
      'drop-relations',
    ]);
    expect(smallRecordsOf(effects.slice(0, 2))).toEqual([
      { kind: 'transaction-status', status: TransactionStatus.committed, xids: [700, 32767] },
      { kind: 'transaction-status', status: TransactionStatus.committed, xids: [32768] },
    ]);
    expect(effects[3]).toEqual({ kind: 'advance-origin', origin: 3, remoteLsn: 0x77n, backward: false });
    expect(effects[4]).toEqual({
      kind: 'drop-relations',
      files: [{ tablespace: 1663, database: 5, relation: 16400 }],
    });
  });

  it('the end of a prepared transaction concerns the xid it names and ends its state', () => {
    const mainData = bytesOf((w) =>
      w
        .i64le(time)
        .u32le(16 | 128)
        .u32le(650)
        .cstring('name'),
    );
    const effects = end(XactInfo.commitPrepared | 0x80, mainData, 0);
    expect(smallRecordsOf(effects)[0]).toMatchObject({ xids: [650] });
    expect(effects.at(-1)).toEqual({ kind: 'end-prepared', xid: 650 });
    const rolledBack = end(XactInfo.abortPrepared | 0x80, mainData, 0);
    expect(rolledBack.at(-1)).toEqual({ kind: 'end-prepared', xid: 650 });
  });

  it('xid 0 has no status', () => {
    expect(
      end(
        XactInfo.commit,
        bytesOf((w) => w.i64le(time)),
        0,
      ),
    ).toEqual([{ kind: 'commit-time', micros: time }]);
  });

  it('progress of the origin that nobody tracks is not kept', () => {
    const mainData = bytesOf((w) => w.i64le(time).u32le(32).u64le(1n).i64le(time));
    expect(end(XactInfo.commit | 0x80, mainData, 700, 0xffff).map((effect) => effect.kind)).toEqual([
      'change-slru-page',
      'commit-time',
    ]);
  });

  it('preparing keeps the whole record as the state, and the progress of its origin', () => {
    const state = bytesOf((w) =>
      w
        .u32le(0x57f94534)
        .u32le(72 + 8 + 4)
        .u32le(701)
        .zeros(28)
        .i32le(0)
        .zeros(10)
        .u16le(5)
        .u64le(0x99n)
        .zeros(8 + 8),
    );
    expect(state).toHaveLength(80);
    expect(
      effectsOf(
        makeRecord({ rmgr: Rmgr.xact, info: XactInfo.prepare, xid: 701, mainData: state, origin: 2 }),
      ),
    ).toEqual([
      { kind: 'prepare-transaction', xid: 701, state },
      { kind: 'advance-origin', origin: 2, remoteLsn: 0x99n, backward: false },
    ]);
  });

  it('a state of another length than it says is corrupt', () => {
    const state = bytesOf((w) => w.u32le(0x57f94534).u32le(99).u32le(701).zeros(60));
    expect(() => effectsOf(makeRecord({ rmgr: Rmgr.xact, info: XactInfo.prepare, mainData: state }))).toThrow(
      CorruptWal,
    );
  });

  it('assignments and invalidations change nothing', () => {
    expect(end(XactInfo.assignment, Buffer.alloc(12))).toBe(NO_EFFECTS);
    expect(end(XactInfo.invalidations, Buffer.alloc(12))).toBe(NO_EFFECTS);
  });
});

describe('multixacts', () => {
  const create = (multixact: number, offset: number, xids: number[]): readonly Effect[] => {
    const mainData = bytesOf((w) => {
      w.u32le(multixact).u32le(offset).i32le(xids.length);
      for (const xid of xids) w.u32le(xid).i32le(1);
      return w;
    });
    return effectsOf(makeRecord({ rmgr: Rmgr.multixact, info: 0x20, mainData }));
  };

  it('write their own offset, the next one, and their members', () => {
    const effects = create(5, 20, [700, 701]);
    expect(smallRecordsOf(effects)).toEqual([
      {
        kind: 'multixact-offsets',
        offsets: [
          { multixact: 5, offset: 20 },
          { multixact: 6, offset: 22 },
        ],
      },
      {
        kind: 'multixact-members',
        members: [
          { offset: 20, xid: 700, status: 1 },
          { offset: 21, xid: 701, status: 1 },
        ],
      },
    ]);
  });

  it('at the end of an offsets page write to the next page', () => {
    expect(create(2047, 20, [700])).toMatchObject([
      { page: 0 },
      { page: 1 },
      { slru: Slru.multixactMembers },
    ]);
  });

  it('split their members over pages and wrap at the end of the members', () => {
    const pages = create(5, 1635, [700, 701]).slice(1);
    expect(pages).toMatchObject([
      { slru: Slru.multixactMembers, page: 0 },
      { slru: Slru.multixactMembers, page: 1 },
    ]);
    const wrapped = smallRecordsOf(create(5, 0xffffffff, [700, 701]));
    expect(wrapped[0]).toMatchObject({ offsets: [{ offset: 0xffffffff }, { offset: 1 }] });
    expect(wrapped.slice(1)).toMatchObject([
      { members: [{ offset: 0xffffffff }] },
      { members: [{ offset: 0 }] },
    ]);
  });

  it('never start at offset 0, and multixact 0 is skipped', () => {
    expect(smallRecordsOf(create(0xffffffff, 0xfffffffe, [700, 701]))).toMatchObject([
      { offsets: [{ multixact: 0xffffffff, offset: 0xfffffffe }] },
      { offsets: [{ multixact: 1, offset: 1 }] },
      {},
    ]);
  });

  it('pages are zeroed; one of offsets only if no multixact was written to it before', () => {
    const zero = (info: number): readonly Effect[] =>
      effectsOf(makeRecord({ rmgr: Rmgr.multixact, info, mainData: bytesOf((w) => w.i64le(3n)) }));
    expect(zero(0x00)).toEqual([
      { kind: 'zero-slru-page', slru: Slru.multixactOffsets, page: 3, unlessThere: true },
    ]);
    expect(zero(0x10)).toEqual([
      { kind: 'zero-slru-page', slru: Slru.multixactMembers, page: 3, unlessThere: false },
    ]);
  });

  it('truncation removes member segments by run and offset segments by age, one multixact back', () => {
    const mainData = bytesOf((w) =>
      w
        .u32le(5)
        .u32le(1)
        .u32le(2048)
        .u32le(0)
        .u32le(1636 * 32 * 3),
    );
    expect(effectsOf(makeRecord({ rmgr: Rmgr.multixact, info: 0x30, mainData }))).toEqual([
      { kind: 'remove-slru-segments', slru: Slru.multixactMembers, first: 0, end: 3 },
      { kind: 'truncate-slru', slru: Slru.multixactOffsets, cutoffPage: 0 },
    ]);
  });
});
