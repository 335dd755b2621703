import { Fork } from '@coppice/vocabulary';
import type { ForkNumber } from '@coppice/vocabulary';
import { Rmgr } from '../wal/rmgr';
import type { MaskKind } from './mask';

const BY_RMGR: Partial<Record<number, MaskKind>> = {
  [Rmgr.heap2]: 'heap',
  [Rmgr.heap]: 'heap',
  [Rmgr.btree]: 'btree',
  [Rmgr.hash]: 'hash',
  [Rmgr.gin]: 'gin',
  [Rmgr.gist]: 'gist',
  [Rmgr.seq]: 'sequence',
  [Rmgr.spgist]: 'spgist',
  [Rmgr.brin]: 'brin',
  [Rmgr.generic]: 'generic',
};

/** How to mask a page that a record of this resource manager changed; undefined when its pages are compared as they are. */
export function maskKindOf(rmgr: number, fork: ForkNumber): MaskKind | undefined {
  if (fork === Fork.vm) return 'visibility-map';
  if (fork === Fork.fsm) return 'free-space-map';
  return BY_RMGR[rmgr];
}
