/**
 * Database directories made and removed. Format: src/include/commands/dbcommands_xlog.h.
 *
 *   create by file copy   database u32 │ tablespace u32 │ source database u32 │ source tablespace u32
 *   create by WAL         database u32 │ tablespace u32      its relations follow as ordinary records
 *   drop                  database u32 │ count i32 │ tablespaces u32 each
 */
import type { WalRecord } from '../wal/record';
import { DbaseInfo, RMGR_INFO_MASK } from '../wal/rmgr';
import type { Effect } from './effects';
import { readArray, readMainData, unknownRecord } from './main-data';

export function dbaseEffects(record: WalRecord): readonly Effect[] {
  return readMainData(record, (reader) => {
    const database = reader.u32le();
    switch (record.info & RMGR_INFO_MASK) {
      case DbaseInfo.createFileCopy: {
        const to = { database, tablespace: reader.u32le() };
        const from = { database: reader.u32le(), tablespace: reader.u32le() };
        return [{ kind: 'copy-database', from, to }];
      }
      case DbaseInfo.createWalLog:
        return [{ kind: 'create-database', place: { database, tablespace: reader.u32le() } }];
      case DbaseInfo.drop: {
        const places = readArray(reader, reader.i32le(), 4, (r) => ({ database, tablespace: r.u32le() }));
        return [{ kind: 'drop-database', places }];
      }
      default:
        throw unknownRecord(record, 'an unknown database record');
    }
  });
}
