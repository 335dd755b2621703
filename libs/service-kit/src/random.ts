import { randomFillSync } from 'node:crypto';

/** Randomness as a port: production uses the system's, simulations a seeded one. */
export interface Random {
  bytes(count: number): Buffer;
  /** A number in [0, 1). */
  unit(): number;
}

const POOL_BYTES = 4096;

/** The system's random bytes, fetched by the page: a call of its own for each id costs more than making the id. */
function pooledBytes(): Random['bytes'] {
  const pool = Buffer.alloc(POOL_BYTES);
  let used = POOL_BYTES;
  return (count) => {
    if (count > POOL_BYTES) return randomFillSync(Buffer.alloc(count));
    if (used + count > POOL_BYTES) {
      randomFillSync(pool);
      used = 0;
    }
    const taken = Buffer.alloc(count);
    pool.copy(taken, 0, used, used + count);
    // What was given out may become a secret: it is kept nowhere else.
    pool.fill(0, used, used + count);
    used += count;
    return taken;
  };
}

export const systemRandom: Random = { bytes: pooledBytes(), unit: () => Math.random() };
