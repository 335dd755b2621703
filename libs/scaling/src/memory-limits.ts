import { BYTES_PER_UNIT } from './sizes';

/** What a compute may take of memory, bytes. */
export interface MemoryLimits {
  /** Beyond it the kernel takes page cache back, and slows down who allocates more. */
  readonly soft: number;
  /** Beyond it a process dies, and with it the compute. */
  readonly hard: number;
}

/** Room above what is held already: no limit is set so low that giving up page cache does not meet it. */
const HEADROOM = 1.25;
const STEP = 64 * 1024 * 1024;

/**
 * The present size is the soft limit: a query that needs more goes on while the compute grows. The hard one is the largest size:
 * that was promised, and it holds whatever happens between two looks. Who holds more than the largest size when that is made
 * smaller keeps what it has, and gets no more.
 */
export function memoryLimits(of: {
  readonly units: number;
  readonly mostUnits: number;
  readonly heldBytes: number;
  readonly before: MemoryLimits | undefined;
}): MemoryLimits {
  const roomy = Math.ceil((of.heldBytes * HEADROOM) / STEP) * STEP;
  const most = of.mostUnits * BYTES_PER_UNIT;
  const hard = roomy <= most ? most : Math.max(most, Math.min(of.before?.hard ?? most, roomy));
  return { soft: Math.min(hard, Math.max(roomy, of.units * BYTES_PER_UNIT)), hard };
}
