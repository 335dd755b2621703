/**
 * Progress of replication origins. Format: src/include/replication/origin.h.
 *
 *   set    remote lsn u64 │ origin u16 │ force u8
 *   drop   origin u16
 */
import type { WalRecord } from '../wal/record';
import { RMGR_INFO_MASK, ReploriginInfo } from '../wal/rmgr';
import { NO_EFFECTS } from './effects';
import type { Effect } from './effects';
import { readMainData, unknownRecord } from './main-data';

const UNTRACKED_ORIGIN = 0xffff;

export function replicationOriginEffects(record: WalRecord): readonly Effect[] {
  return readMainData(record, (reader) => {
    switch (record.info & RMGR_INFO_MASK) {
      case ReploriginInfo.set: {
        const remoteLsn = reader.u64le();
        const origin = reader.u16le();
        const backward = reader.u8() !== 0;
        return origin === UNTRACKED_ORIGIN
          ? NO_EFFECTS
          : [{ kind: 'advance-origin', origin, remoteLsn, backward }];
      }
      case ReploriginInfo.drop:
        return [{ kind: 'drop-origin', origin: reader.u16le() }];
      default:
        throw unknownRecord(record, 'an unknown origin record');
    }
  });
}
