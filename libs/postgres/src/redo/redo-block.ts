/**
 * Redo: what a WAL record makes of one of its blocks, in the order of XLogReadBufferForRedo
 * (src/backend/access/transam/xlogutils.c):
 *
 *   1. an image that the record wants applied replaces the page, and the record's own action is skipped;
 *   2. a page that the record makes from nothing is zeroed first;
 *   3. the resource manager changes the page in place.
 *
 * A resource manager without a routine here has 'image': its compute attaches to every block the page as it is afterwards
 * (wal_consistency_checking), which is taken whether the record wants it applied or not. Nothing is ever guessed.
 */
import { formatLsn } from '@coppice/vocabulary';
import { restoreBlockImage } from '../page/block-image';
import type { BlockReference, WalRecord } from '../wal/record';
import { CorruptWal, UnsupportedWal } from '../wal/corrupt-wal';
import { RMGR_INFO_MASK, RMGR_MIN_CUSTOM, Rmgr, rmgrName } from '../wal/rmgr';
import type { RmgrId } from '../wal/rmgr';
import { redoGeneric } from './generic';
import { finishGistImage } from './gist';
import { redoHeap } from './heap';
import { redoHeap2 } from './heap2';
import { redoBtree } from './nbtree';
import { DamagedPage } from './little-endian';
import { pageIsNew, pageLsn, setPageLsn } from './page-header';
import { redoSequence } from './sequence';
import { redoXlog } from './xlog';

type RedoRoutine = (page: Buffer, record: WalRecord, block: BlockReference) => void;

const ROUTINES: Record<RmgrId, RedoRoutine | 'image' | 'no-blocks'> = {
  [Rmgr.xlog]: redoXlog,
  [Rmgr.xact]: 'no-blocks',
  [Rmgr.smgr]: 'no-blocks',
  [Rmgr.clog]: 'no-blocks',
  [Rmgr.dbase]: 'no-blocks',
  [Rmgr.tblspc]: 'no-blocks',
  [Rmgr.multixact]: 'no-blocks',
  [Rmgr.relmap]: 'no-blocks',
  [Rmgr.standby]: 'no-blocks',
  [Rmgr.heap2]: redoHeap2,
  [Rmgr.heap]: redoHeap,
  [Rmgr.btree]: redoBtree,
  [Rmgr.hash]: 'image',
  [Rmgr.gin]: 'image',
  [Rmgr.gist]: 'image',
  [Rmgr.seq]: redoSequence,
  [Rmgr.spgist]: 'image',
  [Rmgr.brin]: 'image',
  [Rmgr.commitTs]: 'no-blocks',
  [Rmgr.replorigin]: 'no-blocks',
  [Rmgr.generic]: redoGeneric,
  [Rmgr.logicalmsg]: 'no-blocks',
};

/**
 * Changes `page` (8192 bytes; zeros when there was none) in place as `record` changes its block `block`. Synchronous and
 * without allocation on the common path. Throws `CorruptWal` when record and page do not fit and `UnsupportedWal` when a
 * needed image is absent; the page is then half changed and must be thrown away.
 */
export function redoBlock(page: Buffer, record: WalRecord, block: BlockReference): void {
  try {
    redo(page, record, block);
  } catch (error) {
    if (error instanceof DamagedPage || isOutOfBounds(error)) throw describeFailure(record, block, error);
    throw error;
  }
}

function redo(page: Buffer, record: WalRecord, block: BlockReference): void {
  const routine = routineOf(record);
  const image = block.image;
  if (image !== undefined && (image.apply || routine === 'image')) {
    restoreBlockImage(image, record.lsn, page);
    if (!pageIsNew(page)) setPageLsn(page, record.endLsn);
    if (record.rmgr === Rmgr.gist) finishGistImage(page, record, block);
    return;
  }
  if (routine === 'image') {
    throw new UnsupportedWal(
      record.lsn,
      `${rmgrName(record.rmgr)} info 0x${(record.info & RMGR_INFO_MASK).toString(16)} block ${block.id} has no page image; ` +
        'start the compute with this resource manager in wal_consistency_checking',
    );
  }
  if (routine === 'no-blocks') throw new DamagedPage('this resource manager has no blocks');
  if (block.willInit) page.fill(0);
  // Versions are applied exactly once, in order: PostgreSQL would skip this record, here it means a mixed-up history.
  if (pageLsn(page) >= record.endLsn) throw new DamagedPage(`page is already at ${formatLsn(pageLsn(page))}`);
  routine(page, record, block);
}

/** Whether redo of this block takes the image in the record, so that it needs no page before it. */
export function imageReplacesPage(record: WalRecord, block: BlockReference): boolean {
  return block.image !== undefined && (block.image.apply || routineOf(record) === 'image');
}

function routineOf(record: WalRecord): RedoRoutine | 'image' | 'no-blocks' {
  if (record.rmgr >= RMGR_MIN_CUSTOM) return 'image';
  return ROUTINES[record.rmgr as RmgrId] ?? 'no-blocks';
}

/** What `Buffer` throws for a read or write outside it, by code: the class may be of another realm. */
function isOutOfBounds(error: unknown): error is Error {
  const { code } = error as { readonly code?: unknown };
  return code === 'ERR_OUT_OF_RANGE' || code === 'ERR_BUFFER_OUT_OF_BOUNDS';
}

function describeFailure(record: WalRecord, block: BlockReference, error: Error): CorruptWal {
  const { tablespace, database, relation, fork } = block.relation;
  return new CorruptWal(
    record.lsn,
    `${rmgrName(record.rmgr)} info 0x${(record.info & RMGR_INFO_MASK).toString(16)} cannot be applied to block ${block.id}, ` +
      `page ${block.block} of ${tablespace}/${database}/${relation} fork ${fork}: ${error.message}`,
  );
}
