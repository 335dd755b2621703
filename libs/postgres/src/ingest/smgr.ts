/**
 * Relation files made and cut. Format: src/include/catalog/storage_xlog.h.
 *
 *   create     tablespace u32 │ database u32 │ relation u32 │ fork i32
 *   truncate   blocks u32 │ tablespace u32 │ database u32 │ relation u32 │ flags i32: 1 main, 2 visibility map, 4 free space map
 */
import type { ForkNumber } from '@coppice/vocabulary';
import type { WalRecord } from '../wal/record';
import { RMGR_INFO_MASK, SmgrInfo } from '../wal/rmgr';
import type { Effect } from './effects';
import { corruptRecord, readMainData, readRelationFile, unknownRecord } from './main-data';

const Truncates = { main: 1, visibilityMap: 2, freeSpaceMap: 4 };

export function smgrEffects(record: WalRecord): readonly Effect[] {
  switch (record.info & RMGR_INFO_MASK) {
    case SmgrInfo.create:
      return readMainData(record, (reader) => {
        const file = readRelationFile(reader);
        const fork = reader.i32le();
        if (fork < 0 || fork > 3) throw corruptRecord(record, `fork ${fork}`);
        return [{ kind: 'create-fork', fork: { ...file, fork: fork as ForkNumber } }];
      });
    case SmgrInfo.truncate:
      return readMainData(record, (reader) => {
        const blocks = reader.u32le();
        const file = readRelationFile(reader);
        const flags = reader.i32le();
        const forks = {
          main: (flags & Truncates.main) !== 0,
          visibilityMap: (flags & Truncates.visibilityMap) !== 0,
          freeSpaceMap: (flags & Truncates.freeSpaceMap) !== 0,
        };
        return [{ kind: 'truncate', file, blocks, forks }];
      });
    default:
      throw unknownRecord(record, 'an unknown storage record');
  }
}
