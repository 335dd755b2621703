/**
 * Where the free space map and the visibility map of a heap end when the heap is cut to `blocks` blocks, as
 * `FreeSpaceMapPrepareTruncateRel` (src/backend/storage/freespace/freespace.c) and `visibilitymap_prepare_truncate`
 * (src/backend/access/heap/visibilitymap.c) decide it.
 *
 * The free space map is a tree of pages, three levels deep, laid out depth first: leaf page `n` comes after the `n` leaves
 * before it and after all upper pages that were needed to reach it.
 */
import { BLOCK_SIZE } from '@coppice/vocabulary';
import { HEAP_BLOCKS_PER_VM_PAGE } from '../redo/visibility-map';

const PAGE_HEADER_BYTES = 24;
const NEXT_SLOT_BYTES = 4;
const NODES_PER_PAGE = BLOCK_SIZE - PAGE_HEADER_BYTES - NEXT_SLOT_BYTES;
const UPPER_NODES_PER_PAGE = BLOCK_SIZE / 2 - 1;
/** Heap blocks that one free space map leaf speaks for, and children of an upper page. */
export const FSM_SLOTS_PER_PAGE = NODES_PER_PAGE - UPPER_NODES_PER_PAGE;
const TREE_DEPTH = 3;
const HEAP_BLOCKS_PER_VM_BYTE = 4;

export interface ForkTail {
  /** Blocks that the fork keeps at most. */
  readonly blocks: number;
  /** The last block kept also speaks for heap blocks that are gone. */
  readonly lastIsShared: boolean;
}

export function freeSpaceMapTail(heapBlocks: number): ForkTail {
  const leaf = Math.floor(heapBlocks / FSM_SLOTS_PER_PAGE);
  const lastIsShared = heapBlocks % FSM_SLOTS_PER_PAGE > 0;
  return { blocks: blockOfLeaf(leaf) + (lastIsShared ? 1 : 0), lastIsShared };
}

function blockOfLeaf(leaf: number): number {
  let pages = 0;
  let onLevel = leaf;
  for (let level = 0; level < TREE_DEPTH; level++) {
    pages += onLevel + 1;
    onLevel = Math.floor(onLevel / FSM_SLOTS_PER_PAGE);
  }
  return pages - 1;
}

export function visibilityMapTail(heapBlocks: number): ForkTail {
  return {
    blocks: Math.ceil(heapBlocks / HEAP_BLOCKS_PER_VM_PAGE),
    lastIsShared: heapBlocks % HEAP_BLOCKS_PER_VM_PAGE > 0,
  };
}

/** Clears, in place, what the visibility map page of `heapBlocks` says of that heap block and those after it. */
export function clearVisibilityTail(page: Buffer, heapBlocks: number): void {
  const onPage = heapBlocks % HEAP_BLOCKS_PER_VM_PAGE;
  const byte = PAGE_HEADER_BYTES + Math.floor(onPage / HEAP_BLOCKS_PER_VM_BYTE);
  page[byte] = page[byte]! & ((1 << ((onPage % HEAP_BLOCKS_PER_VM_BYTE) * 2)) - 1);
  page.fill(0, byte + 1);
}
