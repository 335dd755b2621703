import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function inUse(): number {
  // What the first frees outside the heap is counted until the second.
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Bytes of memory that what `make` gives holds. */
export function heldBy<T>(make: () => T): { readonly made: T; readonly bytes: number } {
  const before = inUse();
  const made = make();
  return { made, bytes: inUse() - before };
}
