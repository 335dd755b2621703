/**
 * Redo of full-page images (xlog_redo in src/backend/access/transam/xlog.c). An image is restored before any resource
 * manager is asked, so what arrives here has none: right for a hint, an error for a record that is nothing but images.
 */
import type { BlockReference, WalRecord } from '../wal/record';
import { RMGR_INFO_MASK, XlogInfo } from '../wal/rmgr';
import { DamagedPage } from './little-endian';

export function redoXlog(_page: Buffer, record: WalRecord, _block: BlockReference): void {
  if ((record.info & RMGR_INFO_MASK) !== XlogInfo.fpiForHint)
    throw new DamagedPage('a block without its image');
}
