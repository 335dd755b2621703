/**
 * Ends of transactions. Format: src/include/access/xact.h, read as src/backend/access/rmgrdesc/xactdesc.c does.
 *
 *   commit, abort      time i64 │ xinfo u32 if info & 0x80 │ then, each if its bit is set in xinfo:
 *     bit 0  database u32, tablespace u32
 *     bit 1  count i32, subtransaction xids u32 each
 *     bit 2  count i32, relations dropped, 12 bytes each
 *     bit 8  count i32, dropped statistics, 12 bytes each
 *     bit 3  count i32, invalidation messages, 16 bytes each (commit only)
 *     bit 4  xid u32 of the prepared transaction; bit 7: its name, closed by NUL
 *     bit 5  origin lsn u64, origin time i64
 *   prepare            the content of the two-phase file, without its checksum; starts
 *     magic u32 │ total_len u32 │ xid u32 │ database u32 │ prepared_at i64 │ owner u32 │ six counts i32 │ initfileinval u8 │
 *     (1) │ gid length u16 │ origin lsn u64 │ origin time i64 │ gid, padded to 8 │ subtransaction xids u32 each …
 */
import { Slru } from '@coppice/vocabulary';
import { setTransactionStatus } from '../redo/small-records';
import { TransactionStatus, xactPageOf } from '../redo/slru-layout';
import type { TransactionStatusNumber } from '../redo/slru-layout';
import type { WalRecord } from '../wal/record';
import { XACT_HAS_INFO, XACT_OP_MASK, XactInfo } from '../wal/rmgr';
import { NO_EFFECTS } from './effects';
import type { Effect, RelationFile } from './effects';
import { corruptRecord, readArray, readMainData, readRelationFile, unknownRecord } from './main-data';

const XInfo = {
  database: 1,
  subxacts: 2,
  relations: 4,
  invalidations: 8,
  twoPhase: 16,
  origin: 32,
  gid: 128,
  droppedStats: 256,
};

const TWO_PHASE_MAGIC = 0x57f94534;
const CHECKSUM_BYTES = 4;
/** Origin whose progress is not tracked (`DoNotReplicateId`). */
const UNTRACKED_ORIGIN = 0xffff;
/** More transactions do not fit into one small record. */
const MAX_XIDS_PER_CHANGE = 0xffff;

/** How a transaction ended. */
export interface TransactionEnd {
  readonly outcome: 'commit' | 'abort';
  /** The transaction; for a prepared one not the record's own xid. */
  readonly xid: number;
  readonly prepared: boolean;
  /** Microseconds since 2000-01-01 UTC. */
  readonly time: bigint;
  readonly subxacts: readonly number[];
  readonly dropped: readonly RelationFile[];
  readonly originLsn: bigint | undefined;
}

/** Whether `parseTransactionEnd` reads the record. */
export function endsTransactions(record: WalRecord): boolean {
  const op = record.info & XACT_OP_MASK;
  return (
    op === XactInfo.commit ||
    op === XactInfo.abort ||
    op === XactInfo.commitPrepared ||
    op === XactInfo.abortPrepared
  );
}

export function isPrepare(record: WalRecord): boolean {
  return (record.info & XACT_OP_MASK) === XactInfo.prepare;
}

/** Reads a commit or abort record, also of a prepared transaction. */
export function parseTransactionEnd(record: WalRecord): TransactionEnd {
  const op = record.info & XACT_OP_MASK;
  const commit = op === XactInfo.commit || op === XactInfo.commitPrepared;
  const prepared = op === XactInfo.commitPrepared || op === XactInfo.abortPrepared;
  return readMainData(record, (reader) => {
    const time = reader.i64le();
    const has = record.info & XACT_HAS_INFO ? reader.u32le() : 0;
    if (has & XInfo.database) reader.skip(8);
    const subxacts = has & XInfo.subxacts ? readArray(reader, reader.i32le(), 4, (r) => r.u32le()) : [];
    const dropped = has & XInfo.relations ? readArray(reader, reader.i32le(), 12, readRelationFile) : [];
    if (has & XInfo.droppedStats) reader.skip(reader.i32le() * 12);
    if (commit && has & XInfo.invalidations) reader.skip(reader.i32le() * 16);
    let xid = record.xid;
    if (has & XInfo.twoPhase) {
      const twoPhaseXid = reader.u32le();
      if (prepared) xid = twoPhaseXid;
      if (has & XInfo.gid) reader.cstring();
    } else if (prepared) {
      throw corruptRecord(record, 'it ends a prepared transaction without naming it');
    }
    const originLsn = has & XInfo.origin ? reader.u64le() : undefined;
    return { outcome: commit ? 'commit' : 'abort', xid, prepared, time, subxacts, dropped, originLsn };
  });
}

/** A prepared transaction, as far as ingest looks into its state. */
export interface PreparedTransaction {
  readonly xid: number;
  readonly subxacts: readonly number[];
  readonly originLsn: bigint;
}

/** Reads the header of a prepare record. */
export function parsePrepare(record: WalRecord): PreparedTransaction {
  return readMainData(record, (reader) => {
    const magic = reader.u32le();
    if (magic !== TWO_PHASE_MAGIC)
      throw corruptRecord(record, `two-phase state has magic 0x${magic.toString(16)}`);
    const total = reader.u32le();
    if (total !== record.mainData.length + CHECKSUM_BYTES) {
      throw corruptRecord(record, `two-phase state says ${total} bytes and has ${record.mainData.length}`);
    }
    const xid = reader.u32le();
    reader.skip(4 + 8 + 4);
    const subxactCount = reader.i32le();
    reader.skip(5 * 4 + 2);
    const gidLength = reader.u16le();
    const originLsn = reader.u64le();
    reader.skip(8);
    reader.skip(Math.ceil(gidLength / 8) * 8);
    return { xid, subxacts: readArray(reader, subxactCount, 4, (r) => r.u32le()), originLsn };
  });
}

export function xactEffects(record: WalRecord): readonly Effect[] {
  switch (record.info & XACT_OP_MASK) {
    case XactInfo.commit:
    case XactInfo.abort:
    case XactInfo.commitPrepared:
    case XactInfo.abortPrepared:
      return endEffects(record, parseTransactionEnd(record));
    case XactInfo.prepare:
      return prepareEffects(record);
    case XactInfo.assignment:
    case XactInfo.invalidations:
      return NO_EFFECTS;
    default:
      throw unknownRecord(record, 'an unknown transaction record');
  }
}

function endEffects(record: WalRecord, end: TransactionEnd): Effect[] {
  const status = end.outcome === 'commit' ? TransactionStatus.committed : TransactionStatus.aborted;
  const effects = statusEffects(end.xid, end.subxacts, status);
  if (end.outcome === 'commit') effects.push({ kind: 'commit-time', micros: end.time });
  if (end.originLsn !== undefined) pushOrigin(effects, record.origin, end.originLsn);
  if (end.dropped.length > 0) effects.push({ kind: 'drop-relations', files: end.dropped });
  if (end.prepared) effects.push({ kind: 'end-prepared', xid: end.xid });
  return effects;
}

function statusEffects(xid: number, subxacts: readonly number[], status: TransactionStatusNumber): Effect[] {
  if (subxacts.length === 0) return xid === 0 ? [] : [statusEffect(xactPageOf(xid), [xid], status)];
  const byPage = new Map<number, number[]>();
  for (const one of [xid, ...subxacts]) {
    if (one === 0) continue;
    const page = xactPageOf(one);
    const others = byPage.get(page);
    if (others) others.push(one);
    else byPage.set(page, [one]);
  }
  return [...byPage].map(([page, xids]) => statusEffect(page, xids, status));
}

function statusEffect(page: number, xids: readonly number[], status: TransactionStatusNumber): Effect {
  const distinct = xids.length > MAX_XIDS_PER_CHANGE ? [...new Set(xids)] : xids;
  return {
    kind: 'change-slru-page',
    slru: Slru.xact,
    page,
    value: setTransactionStatus({ xids: distinct, status }),
  };
}

function prepareEffects(record: WalRecord): Effect[] {
  const { xid, originLsn } = parsePrepare(record);
  const effects: Effect[] = [{ kind: 'prepare-transaction', xid, state: record.mainData }];
  pushOrigin(effects, record.origin, originLsn);
  return effects;
}

function pushOrigin(effects: Effect[], origin: number, remoteLsn: bigint): void {
  if (origin === 0 || origin === UNTRACKED_ORIGIN) return;
  effects.push({ kind: 'advance-origin', origin, remoteLsn, backward: false });
}
