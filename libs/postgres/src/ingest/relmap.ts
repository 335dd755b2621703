/**
 * A whole new `pg_filenode.map`. Format: src/include/utils/relmapper.h.
 *
 *   database u32 (0: the shared map) │ tablespace u32 │ length i32 │ map
 */
import { RELMAP_SIZE } from '../relmap';
import type { WalRecord } from '../wal/record';
import { RMGR_INFO_MASK, RelmapInfo } from '../wal/rmgr';
import type { Effect } from './effects';
import { corruptRecord, readMainData, unknownRecord } from './main-data';

export function relmapEffects(record: WalRecord): readonly Effect[] {
  if ((record.info & RMGR_INFO_MASK) !== RelmapInfo.update) {
    throw unknownRecord(record, 'an unknown relation map record');
  }
  return readMainData(record, (reader) => {
    const database = reader.u32le();
    const tablespace = reader.u32le();
    const length = reader.i32le();
    if (length !== RELMAP_SIZE)
      throw corruptRecord(record, `relation map of ${length} bytes, not ${RELMAP_SIZE}`);
    return [{ kind: 'relation-map', place: { tablespace, database }, map: reader.take(length) }];
  });
}
