import { encodeCheckpoint } from '../checkpoint';
import type { Checkpoint } from '../checkpoint';
import { Rmgr, XactInfo, XlogInfo } from '../wal/rmgr';
import { XID_STEP, advanceCheckpoint, nextFullXid, stateFromCheckpoint } from './checkpoint-state';
import type { CheckpointState } from './checkpoint-state';
import { bytesOf, makeRecord } from './testing/make-record';

const checkpoint: Checkpoint = {
  redo: 0x100,
  timelineNumber: 1,
  previousTimelineNumber: 1,
  fullPageWrites: false,
  walLevel: 1,
  nextXid: 731n,
  nextOid: 16384,
  nextMulti: 1,
  nextMultiOffset: 0,
  oldestXid: 722,
  oldestXidDb: 1,
  oldestMulti: 1,
  oldestMultiDb: 1,
  time: 1_760_000_000n,
  oldestCommitTsXid: 0,
  newestCommitTsXid: 0,
  oldestActiveXid: 0,
};
const state: CheckpointState = stateFromCheckpoint(checkpoint, {
  systemIdentifier: 9n,
  recordLsn: 0x100,
  recordEndLsn: 0x178,
});

const withXid = (xid: number, from: CheckpointState = state): CheckpointState =>
  advanceCheckpoint(from, makeRecord({ rmgr: Rmgr.heap, info: 0, xid }));
const atXid = (epoch: number, xid: number): CheckpointState => ({
  ...state,
  nextXidEpoch: epoch,
  nextXid: xid,
});
const afterCheckpoint = (
  info: number,
  changes: Partial<Checkpoint>,
  from: CheckpointState = state,
): CheckpointState =>
  advanceCheckpoint(
    from,
    makeRecord({ rmgr: Rmgr.xlog, info, mainData: encodeCheckpoint({ ...checkpoint, ...changes }) }),
  );

describe('the next transaction id', () => {
  it('stays ahead of every xid seen, in steps', () => {
    expect(withXid(731).nextXid).toBe(768);
    expect(withXid(768, withXid(731)).nextXid).toBe(768 + XID_STEP);
  });

  it('does not change, nor does the state, for xids below it and for no xid', () => {
    expect(withXid(730)).toBe(state);
    expect(withXid(0)).toBe(state);
    expect(withXid(2)).toBe(state);
    expect(withXid(740, withXid(731))).toEqual(withXid(731));
  });

  it('is not thrown back by xid 0 when it has passed half of the space', () => {
    const far = atXid(0, 2 ** 31 + 1000);
    expect(withXid(0, far)).toBe(far);
    expect(nextFullXid(withXid(2 ** 31 + 5000, far))).toBe(
      BigInt(Math.ceil((2 ** 31 + 5001) / XID_STEP) * XID_STEP),
    );
  });

  it('goes into the next epoch when ids wrap, and skips the permanent ones', () => {
    expect(withXid(0xffffffff, atXid(0, 0xfffffff0))).toMatchObject({ nextXidEpoch: 1, nextXid: 3 });
    expect(withXid(5, atXid(0, 0xfffffff0))).toMatchObject({ nextXidEpoch: 1, nextXid: 128 });
    const old = atXid(1, 128);
    expect(withXid(0xfffffff0, old)).toBe(old);
  });

  it('never steps over a page of pg_xact', () => {
    for (const xid of [32767, 65535]) expect(withXid(xid, atXid(0, xid)).nextXid % 32768).toBe(0);
  });

  it('is beyond subtransactions, prepared transactions and members of multixacts', () => {
    const commit = makeRecord({
      rmgr: Rmgr.xact,
      info: XactInfo.commit | 0x80,
      xid: 731,
      mainData: bytesOf((w) => w.i64le(0n).u32le(2).i32le(1).u32le(2000)),
    });
    expect(advanceCheckpoint(state, commit).nextXid).toBeGreaterThan(2000);
    const rollback = makeRecord({
      rmgr: Rmgr.xact,
      info: XactInfo.abortPrepared | 0x80,
      mainData: bytesOf((w) => w.i64le(0n).u32le(16).u32le(3000)),
    });
    expect(advanceCheckpoint(state, rollback).nextXid).toBeGreaterThan(3000);
    const multixact = makeRecord({
      rmgr: Rmgr.multixact,
      info: 0x20,
      mainData: bytesOf((w) => w.u32le(1).u32le(1).i32le(1).u32le(4000).i32le(0)),
    });
    expect(advanceCheckpoint(state, multixact).nextXid).toBeGreaterThan(4000);
  });

  it('is beyond what a snapshot of running transactions says', () => {
    const mainData = bytesOf((w) => w.i32le(0).i32le(0).u8(0).zeros(3).u32le(900).u32le(890).u32le(899));
    const running = advanceCheckpoint(state, makeRecord({ rmgr: Rmgr.standby, info: 0x10, mainData }));
    expect(running.nextXid).toBeGreaterThanOrEqual(900);
    expect(advanceCheckpoint(state, makeRecord({ rmgr: Rmgr.standby, info: 0x00 }))).toBe(state);
    expect(advanceCheckpoint(state, makeRecord({ rmgr: Rmgr.standby, info: 0x20 }))).toBe(state);
  });
});

describe('a checkpoint record', () => {
  it('at a shutdown is believed exactly, also where the steps had run ahead', () => {
    const ahead = withXid(731);
    const after = afterCheckpoint(
      XlogInfo.checkpointShutdown,
      { nextXid: 732n, nextOid: 20000, nextMulti: 4, nextMultiOffset: 9 },
      ahead,
    );
    expect(after).toMatchObject({
      nextXid: 732,
      nextOid: 20000,
      nextMulti: 4,
      nextMultiOffset: 9,
      systemIdentifier: 9n,
    });
  });

  it('while running is a minimum for transactions and multixacts, and says nothing of OIDs', () => {
    const after = afterCheckpoint(XlogInfo.checkpointOnline, {
      nextXid: 1000n,
      nextOid: 1,
      nextMulti: 7,
      nextMultiOffset: 20,
    });
    expect(after).toMatchObject({ nextXid: 1000, nextOid: 16384, nextMulti: 7, nextMultiOffset: 20 });
    const later = afterCheckpoint(
      XlogInfo.checkpointOnline,
      { nextXid: 900n, nextMulti: 3, nextMultiOffset: 5 },
      after,
    );
    expect(later).toMatchObject({ nextXid: 1000, nextMulti: 7, nextMultiOffset: 20 });
  });

  it('moves the oldest ids on, never back', () => {
    const after = afterCheckpoint(XlogInfo.checkpointOnline, {
      oldestXid: 800,
      oldestXidDb: 5,
      oldestMulti: 3,
      oldestMultiDb: 6,
    });
    expect(after).toMatchObject({ oldestXid: 800, oldestXidDb: 5, oldestMulti: 3, oldestMultiDb: 6 });
    expect(afterCheckpoint(XlogInfo.checkpointShutdown, {}, after)).toMatchObject({
      oldestXid: 800,
      oldestMulti: 3,
    });
  });

  it('of another length is corrupt', () => {
    const short = makeRecord({
      rmgr: Rmgr.xlog,
      info: XlogInfo.checkpointShutdown,
      mainData: Buffer.alloc(80),
    });
    expect(() => advanceCheckpoint(state, short)).toThrow('checkpoint of 80 bytes');
  });
});

describe('other counters', () => {
  const after = (rmgr: number, info: number, mainData: Buffer): CheckpointState =>
    advanceCheckpoint(state, makeRecord({ rmgr, info, mainData }));

  it('the next OID is what its record says, also after it wrapped', () => {
    expect(
      after(
        Rmgr.xlog,
        XlogInfo.nextOid,
        bytesOf((w) => w.u32le(24576)),
      ).nextOid,
    ).toBe(24576);
    expect(
      after(
        Rmgr.xlog,
        XlogInfo.nextOid,
        bytesOf((w) => w.u32le(16384 - 1)),
      ).nextOid,
    ).toBe(16383);
  });

  it('the WAL level follows parameter changes and ends of recovery', () => {
    expect(
      after(
        Rmgr.xlog,
        XlogInfo.parameterChange,
        bytesOf((w) => w.zeros(20).i32le(2).zeros(4)),
      ).walLevel,
    ).toBe(2);
    expect(
      after(
        Rmgr.xlog,
        XlogInfo.endOfRecovery,
        bytesOf((w) => w.zeros(16).i32le(2)),
      ).walLevel,
    ).toBe(2);
  });

  it('the next multixact is behind the last one made, also around the end', () => {
    const create = (multixact: number, offset: number, from: CheckpointState): CheckpointState =>
      advanceCheckpoint(
        from,
        makeRecord({
          rmgr: Rmgr.multixact,
          info: 0x20,
          mainData: bytesOf((w) => w.u32le(multixact).u32le(offset).i32le(1).u32le(700).i32le(0)),
        }),
      );
    expect(create(5, 20, state)).toMatchObject({ nextMulti: 6, nextMultiOffset: 21 });
    expect(create(3, 10, create(5, 20, state))).toMatchObject({ nextMulti: 6, nextMultiOffset: 21 });
    const last = { ...state, nextMulti: 0xffffffff, nextMultiOffset: 0xffffffff };
    expect(create(0xffffffff, 0xffffffff, last)).toMatchObject({ nextMulti: 1, nextMultiOffset: 0 });
  });

  it('truncations move the oldest ids', () => {
    expect(
      after(
        Rmgr.clog,
        0x10,
        bytesOf((w) => w.i64le(1n).u32le(40000).u32le(5)),
      ),
    ).toMatchObject({ oldestXid: 40000, oldestXidDb: 5 });
    expect(
      after(
        Rmgr.multixact,
        0x30,
        bytesOf((w) => w.u32le(5).u32le(1).u32le(9).u32le(0).u32le(50)),
      ),
    ).toMatchObject({ oldestMulti: 9, oldestMultiDb: 5 });
  });

  it('a state that changes names the record that changed it', () => {
    const changed = advanceCheckpoint(
      state,
      makeRecord({ rmgr: Rmgr.heap, info: 0, xid: 900, lsn: 0x500, endLsn: 0x540 }),
    );
    expect(changed).toMatchObject({ recordLsn: 0x500, recordEndLsn: 0x540 });
  });
});
