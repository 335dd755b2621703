/**
 * Records of the log itself. None changes the key space beyond its block references (full-page images); checkpoints,
 * the next OID and parameters go into the checkpoint state. An unknown one stops ingest.
 */
import type { WalRecord } from '../wal/record';
import { RMGR_INFO_MASK, XlogInfo } from '../wal/rmgr';
import { NO_EFFECTS } from './effects';
import type { Effect } from './effects';
import { unknownRecord } from './main-data';

const known = new Set<number>(Object.values(XlogInfo));

export function xlogEffects(record: WalRecord): readonly Effect[] {
  if (known.has(record.info & RMGR_INFO_MASK)) return NO_EFFECTS;
  throw unknownRecord(record, 'an unknown record of the log itself');
}
