/** Rebuilding a page from what the page store holds of it: a base, then the records after it, oldest first. */
import { BLOCK_SIZE } from '@coppice/vocabulary';
import type { LsnNumber, RelationFork } from '@coppice/vocabulary';
import { CorruptWal } from '../wal/corrupt-wal';
import { decodeRecord } from '../wal/decode-record';
import type { BlockReference, WalRecord } from '../wal/record';
import { rmgrName } from '../wal/rmgr';
import type { PageValue } from './page-value';
import { redoBlock } from './redo-block';
import { CorruptPageValue, applySmallRecord } from './small-records';

/** Which page is being rebuilt; undefined for SLRU pages, which no WAL record names. */
export type RebuiltBlock = { readonly relation: RelationFork; readonly block: number } | undefined;

/**
 * Makes of `page` (8192 bytes, changed in place) its version at `lsn`, the end of the record that `value` came from. An
 * empty image is a page of zeros. Throws `CorruptWal`, `UnsupportedWal` or `CorruptPageValue`; the page is then worthless.
 */
export function applyValue(page: Buffer, value: PageValue, lsn: LsnNumber, target: RebuiltBlock): void {
  switch (value.kind) {
    case 'image':
      if (value.bytes.length === BLOCK_SIZE) value.bytes.copy(page);
      else if (value.bytes.length === 0) page.fill(0);
      else throw new CorruptPageValue(`image of ${value.bytes.length} bytes`);
      return;
    case 'small':
      applySmallRecord(page, value.bytes);
      return;
    case 'wal': {
      if (target === undefined)
        throw new CorruptPageValue('a WAL record in the history of a page that no record can name');
      // Where the record starts is not kept; errors name where it can have started at the latest.
      const record = decodeRecord(value.bytes, Math.max(0, lsn - value.bytes.length), lsn);
      redoBlock(page, record, blockOf(record, target));
    }
  }
}

/** Rebuilds a page in `page`, which starts as zeros, from `versions` in ascending order. */
export function rebuildPage(
  page: Buffer,
  versions: Iterable<{ lsn: LsnNumber; value: PageValue }>,
  target: RebuiltBlock,
): void {
  page.fill(0);
  for (const { lsn, value } of versions) applyValue(page, value, lsn, target);
}

function blockOf(record: WalRecord, target: NonNullable<RebuiltBlock>): BlockReference {
  for (const block of record.blocks) {
    const { relation } = block;
    if (
      block.block === target.block &&
      relation.relation === target.relation.relation &&
      relation.fork === target.relation.fork &&
      relation.database === target.relation.database &&
      relation.tablespace === target.relation.tablespace
    ) {
      return block;
    }
  }
  throw new CorruptWal(
    record.lsn,
    `${rmgrName(record.rmgr)} record does not name the page whose history it is in`,
  );
}
