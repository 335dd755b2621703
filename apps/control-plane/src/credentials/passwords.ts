/**
 * Passwords are derived, never stored:
 *
 *   password = "npg_" + base62(HMAC-SHA256(master secret, "role-password:<branch>:<role>:<version>"))
 *
 * So a fork costs no hashing and no secret at rest, an answer can show the password again, and the password of one branch
 * says nothing about another's. The SCRAM verifier is computed at the first login and kept. All verifiers of a role on a
 * branch share one salt, also derived, because a SCRAM exchange names its salt before it knows which password comes.
 */
import { createHash, createHmac, pbkdf2 } from 'node:crypto';
import { promisify } from 'node:util';
import type { BranchId } from '@coppice/vocabulary';
import type { StoredVerifier } from '@coppice/catalog';

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** PostgreSQL's `scram_iterations` default. */
export const SCRAM_ITERATIONS = 4096;
const PASSWORD_CHARACTERS = 43; // 62^43 > 2^256
const SALT_BYTES = 16;
const hash = promisify(pbkdf2);

/** The whole number that `bytes` spell, in base 62, padded to `length` digits. */
export function base62(bytes: Buffer, length: number): string {
  let value = BigInt(`0x${bytes.toString('hex')}`);
  let text = '';
  for (let i = 0; i < length; i++) {
    text = BASE62[Number(value % 62n)]! + text;
    value /= 62n;
  }
  return text;
}

/** Which password of which role on which branch. */
export interface PasswordOf {
  readonly branchId: BranchId;
  readonly role: string;
  readonly version: number;
}

export class Passwords {
  readonly #masterSecret: string;

  constructor(masterSecret: string) {
    this.#masterSecret = masterSecret;
  }

  derive({ branchId, role, version }: PasswordOf): string {
    return `npg_${base62(this.#mac(`role-password:${branchId}:${role}:${version}`), PASSWORD_CHARACTERS)}`;
  }

  /** Of a scoped credential, by its random id. */
  deriveScoped(credentialId: string): string {
    return `cps_${base62(this.#mac(`scoped-password:${credentialId}`), PASSWORD_CHARACTERS)}`;
  }

  /** The SCRAM-SHA-256 verifier of a scoped credential's password. */
  async scopedVerifier(credentialId: string): Promise<StoredVerifier> {
    const salt = this.#mac(`scoped-salt:${credentialId}`).subarray(0, SALT_BYTES);
    return scramVerifier(this.deriveScoped(credentialId), salt, SCRAM_ITERATIONS);
  }

  /** The SCRAM-SHA-256 verifier of a derived password. */
  async verifier(of: PasswordOf): Promise<StoredVerifier> {
    const salt = this.#mac(`scram-salt:${of.branchId}:${of.role}`).subarray(0, SALT_BYTES);
    return scramVerifier(this.derive(of), salt, SCRAM_ITERATIONS);
  }

  #mac(text: string): Buffer {
    return createHmac('sha256', this.#masterSecret).update(text).digest();
  }
}

/** RFC 5802: StoredKey = H(HMAC(SaltedPassword, "Client Key")), ServerKey = HMAC(SaltedPassword, "Server Key"). */
export async function scramVerifier(
  password: string,
  salt: Buffer,
  iterations: number,
): Promise<StoredVerifier> {
  const salted = await hash(password, salt, iterations, 32, 'sha256');
  const clientKey = createHmac('sha256', salted).update('Client Key').digest();
  return {
    iterations,
    salt,
    storedKey: createHash('sha256').update(clientKey).digest(),
    serverKey: createHmac('sha256', salted).update('Server Key').digest(),
  };
}
