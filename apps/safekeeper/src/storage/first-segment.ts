import { encodePageHeader, PageFlag, pageHeaderSize, segmentStart, WAL_PAGE_SIZE } from '@coppice/postgres';
import type { LsnNumber } from '@coppice/vocabulary';

/**
 * The headers that make a timeline's first segment readable: WAL comes from `startLsn` on only, so the segment's long
 * header and the header of the page of `startLsn` are made here. The latter says that the rest of a record stands before
 * `startLsn`, which is how readers find the first record of a page.
 */
export function firstSegmentHeaders(
  startLsn: LsnNumber,
  systemIdentifier: bigint,
): { readonly offset: number; readonly bytes: Buffer }[] {
  const segment = segmentStart(startLsn);
  const page = startLsn - (startLsn % WAL_PAGE_SIZE);
  if (startLsn === segment) return [];
  const rest = startLsn - page - pageHeaderSize(page);
  const header = (pageLsn: LsnNumber, remainingLength: number): Buffer =>
    encodePageHeader({
      info: remainingLength > 0 ? PageFlag.firstIsContrecord : 0,
      tli: 1,
      pageLsn,
      remainingLength,
      systemIdentifier: pageLsn === segment ? systemIdentifier : undefined,
    });
  if (page === segment) return [{ offset: 0, bytes: header(segment, rest) }];
  const long = { offset: 0, bytes: header(segment, 0) };
  return page === startLsn ? [long] : [long, { offset: page - segment, bytes: header(page, rest) }];
}
