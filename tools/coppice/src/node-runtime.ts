/** How Node.js is run for services: docs/decisions/0017-collecting-garbage.md has what was measured. */

export interface NodeRuntime {
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

const ORDINARY: NodeRuntime = { flags: [], env: {} };

/**
 * For services that pages and WAL pass through, in buffers that live for a moment outside of V8's heap. V8 answers their bytes with
 * incremental markings of the whole heap; without those, with collections of the young generation, which frees them as well. And
 * glibc would give their memory back to the kernel and ask for it again. Safekeepers allocate too little for that: their
 * garbage gathered for half an hour.
 */
const FOR_PAGES_AND_WAL: NodeRuntime = {
  flags: ['--no-incremental-marking'],
  env: {
    /** Bytes that may lie free at the end of the heap. */
    MALLOC_TRIM_THRESHOLD_: String(128 * 1024 * 1024),
    /** Buffers of fewer bytes come from the heap; glibc takes no larger value. */
    MALLOC_MMAP_THRESHOLD_: String(32 * 1024 * 1024),
  },
};

const MOVERS_OF_PAGES_AND_WAL: ReadonlySet<string> = new Set(['pageserver', 'compute-agent']);

export function nodeRuntimeOf(app: string): NodeRuntime {
  return MOVERS_OF_PAGES_AND_WAL.has(app) ? FOR_PAGES_AND_WAL : ORDINARY;
}
