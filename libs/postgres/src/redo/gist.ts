/**
 * What a GiST record changes on a page after its image was taken (src/backend/access/gist/gistxlog.c): the left child of a
 * finished split gets the record's position as its node sequence number and loses its follow-right flag.
 *
 *   special space: nsn (high u32, low u32), right link u32, flags u16, page id u16
 */
import { BLOCK_SIZE } from '@coppice/vocabulary';
import type { BlockReference, WalRecord } from '../wal/record';
import { GistInfo, RMGR_INFO_MASK } from '../wal/rmgr';
import { pageSpecial } from './page-header';
import { DamagedPage, putU16, putU32, u16 } from './little-endian';

export const GistFlag = { leaf: 0x01, followRight: 0x08, hasGarbage: 0x10 } as const;

const SPECIAL_BYTES = 16;

/** Completes the restored image of a GiST page. */
export function finishGistImage(page: Buffer, record: WalRecord, block: BlockReference): void {
  const op = record.info & RMGR_INFO_MASK;
  const isLeftChild =
    (op === GistInfo.pageUpdate && block.id === 1) || (op === GistInfo.pageSplit && block.id === 0);
  if (!isLeftChild) return;
  setNodeSequence(page, record.endLsn);
  setGistFlags(page, getGistFlags(page) & ~GistFlag.followRight);
}

function special(page: Buffer): number {
  const at = pageSpecial(page);
  if (at !== BLOCK_SIZE - SPECIAL_BYTES) throw new DamagedPage(`special space at ${at}`);
  return at;
}
export function setNodeSequence(page: Buffer, lsn: number): void {
  const at = special(page);
  putU32(page, at, Math.floor(lsn / 2 ** 32));
  putU32(page, at + 4, lsn % 2 ** 32);
}
export function getGistFlags(page: Buffer): number {
  return u16(page, special(page) + 12);
}
export function setGistFlags(page: Buffer, flags: number): void {
  putU16(page, special(page) + 12, flags);
}
