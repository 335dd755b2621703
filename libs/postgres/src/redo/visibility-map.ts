/**
 * The visibility map: two bits per heap block behind a standard page header (src/backend/access/heap/visibilitymap.c).
 *
 *   bit 0  all visible: every row of the heap block is visible to everyone
 *   bit 1  all frozen:  … and needs no vacuum against wraparound
 */
import { BLOCK_SIZE } from '@coppice/vocabulary';

const HEADER_BYTES = 24;
const HEAP_BLOCKS_PER_BYTE = 4;

/** Heap blocks that one visibility map page speaks for. */
export const HEAP_BLOCKS_PER_VM_PAGE = (BLOCK_SIZE - HEADER_BYTES) * HEAP_BLOCKS_PER_BYTE;

export const VM_ALL_VISIBLE = 1;
export const VM_ALL_FROZEN = 2;
export const VM_ALL_BITS = VM_ALL_VISIBLE | VM_ALL_FROZEN;

/** The visibility map page that holds the bits of `heapBlock`. */
export function vmPageOf(heapBlock: number): number {
  return Math.floor(heapBlock / HEAP_BLOCKS_PER_VM_PAGE);
}

function byteOf(heapBlock: number): number {
  return HEADER_BYTES + Math.floor((heapBlock % HEAP_BLOCKS_PER_VM_PAGE) / HEAP_BLOCKS_PER_BYTE);
}

function shiftOf(heapBlock: number): number {
  return (heapBlock % HEAP_BLOCKS_PER_BYTE) * 2;
}

export function getVmBits(page: Buffer, heapBlock: number): number {
  return (page[byteOf(heapBlock)]! >>> shiftOf(heapBlock)) & VM_ALL_BITS;
}

/** Sets the bits of `heapBlock` that are set in `flags`; never clears one. */
export function setVmBits(page: Buffer, heapBlock: number, flags: number): void {
  const at = byteOf(heapBlock);
  page[at] = page[at]! | ((flags & VM_ALL_BITS) << shiftOf(heapBlock));
}

/** Clears the bits of `heapBlock` that are set in `flags`. */
export function clearVmBits(page: Buffer, heapBlock: number, flags: number): void {
  const at = byteOf(heapBlock);
  page[at] = page[at]! & ~((flags & VM_ALL_BITS) << shiftOf(heapBlock));
}
