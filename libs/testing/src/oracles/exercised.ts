import {
  BrinInfo,
  BtreeInfo,
  GinInfo,
  GistInfo,
  HEAP_INIT_PAGE,
  HashInfo,
  Heap2Info,
  HeapInfo,
  Rmgr,
  SeqInfo,
  SpgistInfo,
  XlogInfo,
} from '@coppice/postgres';
import { type PageReplay, opName } from './page-replay';

/** Every kind of record that changes pages, by whether redo has a routine for it or takes an image. */
const PAGE_RECORDS = {
  routines: [
    ...infos(Rmgr.heap, HeapInfo, [HeapInfo.truncate]),
    { rmgr: Rmgr.heap, info: HeapInfo.insert | HEAP_INIT_PAGE },
    { rmgr: Rmgr.heap, info: HeapInfo.update | HEAP_INIT_PAGE },
    ...infos(Rmgr.heap2, Heap2Info, [Heap2Info.rewrite, Heap2Info.newCid]),
    { rmgr: Rmgr.heap2, info: Heap2Info.multiInsert | HEAP_INIT_PAGE },
    ...infos(Rmgr.btree, BtreeInfo, [BtreeInfo.reusePage]),
    ...infos(Rmgr.seq, SeqInfo, []),
    { rmgr: Rmgr.generic, info: 0 },
    { rmgr: Rmgr.xlog, info: XlogInfo.fpi },
  ],
  images: [
    { rmgr: Rmgr.xlog, info: XlogInfo.fpiForHint },
    ...infos(Rmgr.gin, GinInfo, []),
    ...infos(Rmgr.gist, GistInfo, [GistInfo.pageReuse, GistInfo.assignLsn]),
    ...infos(Rmgr.spgist, SpgistInfo, []),
    ...infos(Rmgr.hash, HashInfo, []),
    ...infos(Rmgr.brin, BrinInfo, []),
  ],
} as const;

function infos(
  rmgr: number,
  all: Readonly<Record<string, number>>,
  without: readonly number[],
): { rmgr: number; info: number }[] {
  return Object.values(all)
    .filter((info) => !without.includes(info))
    .map((info) => ({ rmgr, info }));
}

/** Kinds of records that the replay never met: of those with a routine of ours, or of those taken from images. */
export function neverExercised(replay: PageReplay, which: keyof typeof PAGE_RECORDS): string[] {
  return PAGE_RECORDS[which]
    .map((record) => opName(record))
    .filter((op) => {
      const count = replay.counts.get(op);
      return count === undefined || count.compared + count.restored === 0;
    });
}
