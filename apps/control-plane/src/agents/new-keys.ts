/**
 * Secrets that are shown once: derived from a random seed, so that a repeated idempotency key can show the same one again,
 * while what is kept (the seed) is worth nothing without the stack's master secret.
 *
 *   secret = "cpk_" + base62(HMAC-SHA256(master secret, "api-key:" + seed))
 */
import { createHmac } from 'node:crypto';
import type { Random } from '@coppice/service-kit';
import { hashApiKey } from '../access/authorize';
import { base62 } from '../credentials/passwords';

const SEED_BYTES = 18;
const SECRET_CHARACTERS = 43; // 62^43 > 2^256

export interface NewKey {
  readonly secret: string;
  readonly seed: string;
  /** SHA-256 of the secret: what is stored. */
  readonly hash: Buffer;
}

export class NewKeys {
  readonly #masterSecret: string;
  readonly #random: Random;

  constructor(masterSecret: string, random: Random) {
    this.#masterSecret = masterSecret;
    this.#random = random;
  }

  make(): NewKey {
    const seed = this.#random.bytes(SEED_BYTES).toString('base64url');
    const secret = this.secretOf(seed);
    return { secret, seed, hash: hashApiKey(secret) };
  }

  secretOf(seed: string): string {
    const mac = createHmac('sha256', this.#masterSecret).update(`api-key:${seed}`).digest();
    return `cpk_${base62(mac, SECRET_CHARACTERS)}`;
  }
}
