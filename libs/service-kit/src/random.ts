import { randomBytes } from 'node:crypto';

/** Randomness as a port: production uses the system's, simulations a seeded one. */
export interface Random {
  bytes(count: number): Buffer;
  /** A number in [0, 1). */
  unit(): number;
}

export const systemRandom: Random = { bytes: (count) => randomBytes(count), unit: () => Math.random() };
