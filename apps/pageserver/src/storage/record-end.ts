import type { LsnNumber } from '@coppice/vocabulary';

const PAGE_BYTES = 8192;
const SHORT_HEADER = 24;
const LONG_HEADER = 40;

/** A position just behind a WAL page header is the same as the page boundary where the last record ended. */
export function recordEnd(lsn: LsnNumber): LsnNumber {
  const inPage = lsn % PAGE_BYTES;
  return inPage === SHORT_HEADER || inPage === LONG_HEADER ? lsn - inPage : lsn;
}
