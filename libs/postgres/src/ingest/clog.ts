/**
 * Pages of pg_xact made and removed. Format: src/include/access/clog.h, src/backend/access/transam/clog.c.
 *
 *   zero page   page i64
 *   truncate    page i64 │ oldest xid u32 │ its database u32
 */
import { Slru } from '@coppice/vocabulary';
import type { ByteReader } from '@coppice/bytes';
import { XACTS_PER_PAGE } from '../redo/slru-layout';
import type { WalRecord } from '../wal/record';
import { ClogInfo, RMGR_INFO_MASK } from '../wal/rmgr';
import type { Effect } from './effects';
import { corruptRecord, readMainData, unknownRecord } from './main-data';

const PAGES = 2 ** 32 / XACTS_PER_PAGE;

/** What the truncation says about the oldest transaction; undefined for other records. */
export function parseClogTruncate(
  record: WalRecord,
): { readonly oldestXid: number; readonly oldestXidDb: number } | undefined {
  if ((record.info & RMGR_INFO_MASK) !== ClogInfo.truncate) return undefined;
  return readMainData(record, (reader) => {
    reader.skip(8);
    return { oldestXid: reader.u32le(), oldestXidDb: reader.u32le() };
  });
}

export function clogEffects(record: WalRecord): readonly Effect[] {
  switch (record.info & RMGR_INFO_MASK) {
    case ClogInfo.zeroPage:
      return [{ kind: 'zero-slru-page', slru: Slru.xact, page: pageOf(record, PAGES), unlessThere: false }];
    case ClogInfo.truncate:
      return [{ kind: 'truncate-slru', slru: Slru.xact, cutoffPage: pageOf(record, PAGES) }];
    default:
      throw unknownRecord(record, 'an unknown pg_xact record');
  }
}

/** The page number that an SLRU record starts with; there are `pages` in the SLRU. */
export function pageOf(record: WalRecord, pages: number): number {
  return readMainData(record, (reader: ByteReader) => {
    const page = reader.i64le();
    if (page < 0n || page >= BigInt(Math.ceil(pages))) throw corruptRecord(record, `SLRU page ${page}`);
    return Number(page);
  });
}
