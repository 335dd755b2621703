/**
 * Redo of sequences (src/backend/commands/sequence.c): every record holds the sequence's only row and makes the page anew.
 * Main data: tablespace u32, database u32, relation u32, then the row.
 */
import { BLOCK_SIZE } from '@coppice/vocabulary';
import type { BlockReference, WalRecord } from '../wal/record';
import { RMGR_INFO_MASK, SeqInfo } from '../wal/rmgr';
import { initPage, setPageLsn } from './page-header';
import { insertItem } from './page-items';
import { DamagedPage, putU32 } from './little-endian';

const MAGIC = 0x1717;
const SPECIAL_BYTES = 8;
const LOCATOR_BYTES = 12;

export function redoSequence(page: Buffer, record: WalRecord, block: BlockReference): void {
  if ((record.info & RMGR_INFO_MASK) !== SeqInfo.log || block.id !== 0)
    throw new DamagedPage('unknown sequence operation');
  const main = record.mainData;
  if (main.length <= LOCATOR_BYTES) throw new DamagedPage(`sequence row of ${main.length} bytes`);
  initPage(page, SPECIAL_BYTES);
  putU32(page, BLOCK_SIZE - SPECIAL_BYTES, MAGIC);
  insertItem(page, 1, main, LOCATOR_BYTES, main.length - LOCATOR_BYTES);
  setPageLsn(page, record.endLsn);
}
