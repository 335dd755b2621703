/**
 * What a compute that starts at a position must put into its first checkpoint, kept up to date record by record. Follows
 * what redo keeps in shared memory: `xlog_redo` (src/backend/access/transam/xlog.c), `AdvanceNextFullTransactionIdPastXid`
 * (varsup.c), `MultiXactAdvanceNextMXact` (multixact.c).
 *
 * `nextXid` runs ahead of the ids seen by fewer than `XID_STEP`, so that the state changes, and is stored, once in that
 * many transactions; a shutdown checkpoint sets it exactly. Steps end on pg_xact page boundaries at the latest.
 */
import type { LsnNumber } from '@coppice/vocabulary';
import { CHECKPOINT_SIZE, decodeCheckpoint } from '../checkpoint';
import type { Checkpoint } from '../checkpoint';
import type { WalRecord } from '../wal/record';
import { RMGR_INFO_MASK, Rmgr, StandbyInfo, XlogInfo } from '../wal/rmgr';
import { parseClogTruncate } from './clog';
import { corruptRecord, readMainData } from './main-data';
import { parseMultixactCreate, parseMultixactTruncate } from './multixact';
import { FIRST_MULTIXACT, FIRST_NORMAL_XID, multixactPrecedes, xidPrecedes } from './transaction-id';
import { endsTransactions, isPrepare, parsePrepare, parseTransactionEnd } from './xact';

export const XID_STEP = 128;

const XIDS = 2 ** 32;

export interface CheckpointState {
  readonly systemIdentifier: bigint;
  /** The next transaction id, as its high and low half. */
  readonly nextXidEpoch: number;
  readonly nextXid: number;
  readonly nextOid: number;
  readonly nextMulti: number;
  readonly nextMultiOffset: number;
  readonly oldestXid: number;
  readonly oldestXidDb: number;
  readonly oldestMulti: number;
  readonly oldestMultiDb: number;
  readonly oldestCommitTsXid: number;
  readonly newestCommitTsXid: number;
  /** PostgreSQL's number for `minimal`, `replica`, `logical`: 0, 1, 2. */
  readonly walLevel: number;
  /** Start and end of the record that changed the state last. */
  readonly recordLsn: LsnNumber;
  readonly recordEndLsn: LsnNumber;
}

/** The 64-bit next transaction id. */
export function nextFullXid(state: CheckpointState): bigint {
  return (BigInt(state.nextXidEpoch) << 32n) | BigInt(state.nextXid);
}

/** The state at a shutdown checkpoint, from its fields and its record's place. */
export function stateFromCheckpoint(
  checkpoint: Checkpoint,
  at: { readonly systemIdentifier: bigint; readonly recordLsn: LsnNumber; readonly recordEndLsn: LsnNumber },
): CheckpointState {
  return {
    ...at,
    ...splitXid(checkpoint.nextXid),
    nextOid: checkpoint.nextOid,
    nextMulti: checkpoint.nextMulti,
    nextMultiOffset: checkpoint.nextMultiOffset,
    oldestXid: checkpoint.oldestXid,
    oldestXidDb: checkpoint.oldestXidDb,
    oldestMulti: checkpoint.oldestMulti,
    oldestMultiDb: checkpoint.oldestMultiDb,
    oldestCommitTsXid: checkpoint.oldestCommitTsXid,
    newestCommitTsXid: checkpoint.newestCommitTsXid,
    walLevel: checkpoint.walLevel,
  };
}

/** The state after `record`; the same object when the record does not change it. */
export function advanceCheckpoint(state: CheckpointState, record: WalRecord): CheckpointState {
  const seen =
    record.xid >= FIRST_NORMAL_XID && !xidPrecedes(record.xid, state.nextXid)
      ? pastXid(state, record.xid)
      : state;
  const advance = byManager[record.rmgr];
  const next = advance ? advance(seen, record) : seen;
  return next === state ? state : { ...next, recordLsn: record.lsn, recordEndLsn: record.endLsn };
}

const byManager: Partial<Record<number, (state: CheckpointState, record: WalRecord) => CheckpointState>> = {
  [Rmgr.xlog]: advanceXlog,
  [Rmgr.xact]: advanceXact,
  [Rmgr.clog]: advanceClog,
  [Rmgr.multixact]: advanceMultixact,
  [Rmgr.standby]: advanceStandby,
};

/** Makes `nextXid` greater than `xid`. */
function pastXid(state: CheckpointState, xid: number): CheckpointState {
  if (xid < FIRST_NORMAL_XID || xidPrecedes(xid, state.nextXid)) return state;
  let epoch = xid < state.nextXid ? state.nextXidEpoch + 1 : state.nextXidEpoch;
  let next = Math.ceil((xid + 1) / XID_STEP) * XID_STEP;
  if (next >= XIDS) {
    epoch += 1;
    next = FIRST_NORMAL_XID;
  }
  return { ...state, nextXidEpoch: epoch, nextXid: next };
}

function splitXid(full: bigint): { readonly nextXidEpoch: number; readonly nextXid: number } {
  return { nextXidEpoch: Number(full >> 32n), nextXid: Number(full & 0xffffffffn) };
}

function advanceXlog(state: CheckpointState, record: WalRecord): CheckpointState {
  switch (record.info & RMGR_INFO_MASK) {
    case XlogInfo.checkpointShutdown:
      return atShutdown(state, checkpointOf(record));
    case XlogInfo.checkpointOnline:
      return atOnlineCheckpoint(state, checkpointOf(record));
    case XlogInfo.nextOid:
      return { ...state, nextOid: readMainData(record, (reader) => reader.u32le()) };
    case XlogInfo.parameterChange:
      return { ...state, walLevel: readMainData(record, (reader) => (reader.skip(20), reader.i32le())) };
    case XlogInfo.endOfRecovery:
      return { ...state, walLevel: readMainData(record, (reader) => (reader.skip(16), reader.i32le())) };
    default:
      return state;
  }
}

function checkpointOf(record: WalRecord): Checkpoint {
  if (record.mainData.length !== CHECKPOINT_SIZE) {
    throw corruptRecord(record, `checkpoint of ${record.mainData.length} bytes, not ${CHECKPOINT_SIZE}`);
  }
  return decodeCheckpoint(record.mainData);
}

/** Nothing runs at a shutdown: its counters are believed exactly, also downwards. */
function atShutdown(state: CheckpointState, checkpoint: Checkpoint): CheckpointState {
  const exact = stateFromCheckpoint(checkpoint, state);
  return { ...exact, ...olderLimits(state, checkpoint) };
}

/** The counters were read when the checkpoint began: each is a minimum, the OID counter is ignored. */
function atOnlineCheckpoint(state: CheckpointState, checkpoint: Checkpoint): CheckpointState {
  const later = checkpoint.nextXid > nextFullXid(state) ? splitXid(checkpoint.nextXid) : {};
  return {
    ...advanceMulti(state, checkpoint.nextMulti, checkpoint.nextMultiOffset),
    ...later,
    ...olderLimits(state, checkpoint),
    oldestCommitTsXid: checkpoint.oldestCommitTsXid,
    newestCommitTsXid: checkpoint.newestCommitTsXid,
    walLevel: checkpoint.walLevel,
  };
}

/** The limits below which history is gone only ever move on. */
function olderLimits(state: CheckpointState, checkpoint: Checkpoint): Partial<CheckpointState> {
  const { oldestXid, oldestXidDb } = laterOldestXid(state, checkpoint);
  const { oldestMulti, oldestMultiDb } = laterOldestMulti(state, checkpoint);
  return { oldestXid, oldestXidDb, oldestMulti, oldestMultiDb };
}

type OldestXid = Pick<CheckpointState, 'oldestXid' | 'oldestXidDb'>;
type OldestMulti = Pick<CheckpointState, 'oldestMulti' | 'oldestMultiDb'>;

function laterOldestXid<A extends OldestXid, B extends OldestXid>(a: A, b: B): A | B {
  return xidPrecedes(a.oldestXid, b.oldestXid) ? b : a;
}

function laterOldestMulti<A extends OldestMulti, B extends OldestMulti>(a: A, b: B): A | B {
  return multixactPrecedes(a.oldestMulti, b.oldestMulti) ? b : a;
}

function advanceXact(state: CheckpointState, record: WalRecord): CheckpointState {
  if (endsTransactions(record)) {
    const { xid, subxacts } = parseTransactionEnd(record);
    return subxacts.reduce(pastXid, pastXid(state, xid));
  }
  if (isPrepare(record)) {
    const { xid, subxacts } = parsePrepare(record);
    return subxacts.reduce(pastXid, pastXid(state, xid));
  }
  return state;
}

function advanceClog(state: CheckpointState, record: WalRecord): CheckpointState {
  const truncated = parseClogTruncate(record);
  if (!truncated || !xidPrecedes(state.oldestXid, truncated.oldestXid)) return state;
  return { ...state, ...truncated };
}

function advanceMultixact(state: CheckpointState, record: WalRecord): CheckpointState {
  const created = parseMultixactCreate(record);
  if (created) {
    const { multixact, offset, members } = created;
    const advanced = advanceMulti(
      state,
      (multixact + 1) >>> 0 || FIRST_MULTIXACT,
      (offset + members.length) >>> 0,
    );
    return members.reduce((soFar, member) => pastXid(soFar, member.xid), advanced);
  }
  const truncated = parseMultixactTruncate(record);
  if (!truncated || !multixactPrecedes(state.oldestMulti, truncated.oldestMulti)) return state;
  return { ...state, oldestMulti: truncated.oldestMulti, oldestMultiDb: truncated.oldestMultiDb };
}

function advanceMulti(state: CheckpointState, nextMulti: number, nextMultiOffset: number): CheckpointState {
  const laterMulti = multixactPrecedes(state.nextMulti, nextMulti);
  const laterOffset = multixactPrecedes(state.nextMultiOffset, nextMultiOffset);
  if (!laterMulti && !laterOffset) return state;
  return {
    ...state,
    nextMulti: laterMulti ? nextMulti : state.nextMulti,
    nextMultiOffset: laterOffset ? nextMultiOffset : state.nextMultiOffset,
  };
}

/** Running transactions: only their `nextXid` matters here, as every start is from a shutdown checkpoint. */
function advanceStandby(state: CheckpointState, record: WalRecord): CheckpointState {
  if ((record.info & RMGR_INFO_MASK) !== StandbyInfo.runningXacts) return state;
  const nextXid = readMainData(record, (reader) => (reader.skip(12), reader.u32le()));
  return nextXid > FIRST_NORMAL_XID ? pastXid(state, nextXid - 1) : state;
}
