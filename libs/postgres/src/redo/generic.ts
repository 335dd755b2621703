/**
 * Redo of generic records, which extensions write (src/backend/access/transam/generic_xlog.c). Block data is a list of
 * changed stretches: offset u16, length u16, that many bytes.
 */
import { BLOCK_SIZE } from '@coppice/vocabulary';
import type { BlockReference, WalRecord } from '../wal/record';
import { pageLower, pageUpper, setPageLsn } from './page-header';
import { DamagedPage, u16 } from './little-endian';

export function redoGeneric(page: Buffer, record: WalRecord, block: BlockReference): void {
  const { data } = block;
  for (let from = 0; from < data.length; ) {
    const offset = u16(data, from);
    const length = u16(data, from + 2);
    from += 4;
    if (!(from + length <= data.length && offset + length <= BLOCK_SIZE))
      throw new DamagedPage(`change of ${length} bytes at ${offset}`);
    data.copy(page, offset, from, from + length);
    from += length;
  }
  const lower = pageLower(page);
  const upper = pageUpper(page);
  if (!(lower <= upper && upper <= BLOCK_SIZE)) throw new DamagedPage(`hole from ${lower} to ${upper}`);
  page.fill(0, lower, upper);
  setPageLsn(page, record.endLsn);
}
