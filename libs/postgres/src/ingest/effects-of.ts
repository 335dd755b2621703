import type { WalRecord } from '../wal/record';
import { RMGR_MIN_CUSTOM, Rmgr } from '../wal/rmgr';
import type { RmgrId } from '../wal/rmgr';
import { clogEffects } from './clog';
import { dbaseEffects } from './dbase';
import { NO_EFFECTS } from './effects';
import type { Effect } from './effects';
import { heap2Effects, heapEffects } from './heap';
import { logicalMessageEffects } from './logical-message';
import { unsupportedRecord } from './main-data';
import { multixactEffects } from './multixact';
import { relmapEffects } from './relmap';
import { replicationOriginEffects } from './replication-origin';
import { smgrEffects } from './smgr';
import { xactEffects } from './xact';
import { xlogEffects } from './xlog';

const none = (): readonly Effect[] => NO_EFFECTS;

const handlers: Record<RmgrId, (record: WalRecord) => readonly Effect[]> = {
  [Rmgr.xlog]: xlogEffects,
  [Rmgr.xact]: xactEffects,
  [Rmgr.smgr]: smgrEffects,
  [Rmgr.clog]: clogEffects,
  [Rmgr.dbase]: dbaseEffects,
  [Rmgr.tblspc]: (record) => {
    throw unsupportedRecord(
      record,
      'a tablespace is created or dropped',
      'Databases here live in the default tablespace: restore to a time before it.',
    );
  },
  [Rmgr.multixact]: multixactEffects,
  [Rmgr.relmap]: relmapEffects,
  [Rmgr.standby]: none,
  [Rmgr.heap2]: heap2Effects,
  [Rmgr.heap]: heapEffects,
  [Rmgr.btree]: none,
  [Rmgr.hash]: none,
  [Rmgr.gin]: none,
  [Rmgr.gist]: none,
  [Rmgr.seq]: none,
  [Rmgr.spgist]: none,
  [Rmgr.brin]: none,
  [Rmgr.commitTs]: (record) => {
    throw unsupportedRecord(
      record,
      'commit timestamps are tracked',
      'Keep track_commit_timestamp off: restore to a time before it was on.',
    );
  },
  [Rmgr.replorigin]: replicationOriginEffects,
  [Rmgr.generic]: none,
  [Rmgr.logicalmsg]: logicalMessageEffects,
};

const byNumber: readonly ((record: WalRecord) => readonly Effect[])[] = Array.from(
  { length: 256 },
  (_, rmgr) => handlers[rmgr as RmgrId] ?? unknownManager,
);

function unknownManager(record: WalRecord): never {
  throw unsupportedRecord(
    record,
    record.rmgr >= RMGR_MIN_CUSTOM
      ? 'written by an extension with a resource manager of its own'
      : 'written by an unknown resource manager',
    'Its effects cannot be known here: restore to a time before it and leave the extension out.',
  );
}

/**
 * What the record does beyond its block references, in the order to do it. Throws `CorruptWal` on a malformed record and
 * `UnsupportedWal` on one that nobody here knows: ingest must stop before it.
 */
export function effectsOf(record: WalRecord): readonly Effect[] {
  return byNumber[record.rmgr & 0xff]!(record);
}
