import { Rmgr, RMGR_INFO_MASK, TOMBSTONE, XlogInfo, imageReplacesPage, redoBlock } from '@coppice/postgres';
import type { BlockReference, PageValue, WalRecord } from '@coppice/postgres';
import { BLOCK_SIZE } from '@coppice/vocabulary';

/** The key does not exist from this version on; a page within its fork's size is zeros. */
export const TOMBSTONE_VALUE: PageValue = Object.freeze({ kind: 'image', bytes: TOMBSTONE });

/**
 * The version that a block reference makes, or undefined when it changes nothing. The record itself, but for records that
 * carry images of several pages (an index being built logs 32 at a time): storing such a record once per page would keep
 * each image 32 times, so every page keeps its own.
 */
export function blockValue(
  record: WalRecord,
  block: BlockReference,
  hasBase: boolean,
): PageValue | undefined {
  const replaces = imageReplacesPage(record, block);
  if (replaces && record.blocks.length > 1) {
    const page = Buffer.alloc(BLOCK_SIZE);
    redoBlock(page, record, block);
    return { kind: 'image', bytes: page };
  }
  if (!block.image && record.rmgr === Rmgr.xlog && (record.info & RMGR_INFO_MASK) === XlogInfo.fpiForHint)
    return undefined;
  return { kind: 'wal', bytes: record.bytes, willInit: block.willInit || replaces || !hasBase };
}

/** The same value for a page that did not exist: nothing older may show through. */
export function withoutBase(value: PageValue): PageValue {
  return value.kind === 'image' || value.willInit ? value : { ...value, willInit: true };
}
