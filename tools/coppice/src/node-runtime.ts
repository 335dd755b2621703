/** How Node.js is run for services: docs/decisions/0017-collecting-garbage.md has what was measured. */

/**
 * Pages and WAL pass through buffers that live for a moment, outside of V8's heap. V8 answers their number with incremental
 * markings of the whole heap; without those, with collections of the young generation, which frees them as well.
 */
export const V8_FLAGS = ['--no-incremental-marking'] as const;

/**
 * For services that WAL and pages pass through. glibc would give the memory of each large buffer back to the kernel and ask for it
 * again: it keeps what is free at the end of its heap up to this many bytes, and takes no buffer of fewer from anywhere else.
 */
export const KEEPS_ITS_MEMORY = {
  MALLOC_TRIM_THRESHOLD_: String(128 * 1024 * 1024),
  MALLOC_MMAP_THRESHOLD_: String(32 * 1024 * 1024),
} as const;
