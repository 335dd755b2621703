/**
 * Passwords that come with every request, checked against the verifiers of the role. PBKDF2 is slow by design, so that a password
 * that was right is taken to be right for some seconds; that bounds as well how long one works that was revoked or changed.
 */
import { createHmac } from 'node:crypto';
import type { Login, ScramVerifierMessage } from '@coppice/contracts';
import { passwordMatches, type ScramVerifier } from '@coppice/postgres';
import { asCoppiceError, type Clock, type Random, Semaphore } from '@coppice/service-kit';
import { wrongPassword } from '../authenticate';
import type { GuessLimit } from '../limits/guess-limit';

export interface PasswordLogin {
  readonly endpoint: string;
  readonly role: string;
  readonly database: string;
  readonly password: string;
}

export interface PasswordLoginsOptions {
  readonly lookUp: (endpoint: string, role: string, database: string) => Promise<Login>;
  readonly guesses: GuessLimit;
  readonly clock: Clock;
  readonly random: Random;
}

interface Remembered {
  readonly credential: Promise<ScramVerifierMessage>;
  readonly untilMs: number;
}

const REMEMBER_MS = 5_000;
const MAX_REMEMBERED = 10_000;
/** Derivations at once: the threads that do them serve files and names as well. */
const DERIVATIONS = 2;
const MAX_WAITING = 1_000;

export class PasswordLogins {
  readonly #o: PasswordLoginsOptions;
  /** Of the passwords, so that none is kept. */
  readonly #digestKey: Buffer;
  /** By digest, the oldest first. */
  readonly #remembered = new Map<string, Remembered>();
  readonly #nobody: ScramVerifier;
  readonly #derivations = new Semaphore(DERIVATIONS, MAX_WAITING);

  constructor(options: PasswordLoginsOptions) {
    this.#o = options;
    this.#digestKey = options.random.bytes(32);
    this.#nobody = {
      iterations: 4096,
      salt: options.random.bytes(16),
      storedKey: options.random.bytes(32),
      serverKey: options.random.bytes(32),
    };
  }

  /** The credential that the password shows; `from` is who asks, for the limit on guesses. */
  async verify(login: PasswordLogin, from: string): Promise<ScramVerifierMessage> {
    const now = this.#o.clock.now();
    const key = this.#digest(login);
    const known = this.#remembered.get(key);
    if (known && known.untilMs > now) {
      const credential = await known.credential;
      if (credential.expiresUnixMs === 0 || credential.expiresUnixMs > now) return credential;
    }
    const credential = this.#check(login, from);
    this.#remember(key, { credential, untilMs: now + REMEMBER_MS });
    try {
      return await credential;
    } catch (error) {
      if (this.#remembered.get(key)?.credential === credential) this.#remembered.delete(key);
      throw error;
    }
  }

  async #check(
    { endpoint, role, database, password }: PasswordLogin,
    from: string,
  ): Promise<ScramVerifierMessage> {
    const giveBack = this.#o.guesses.take(`${from} ${endpoint} ${role}`);
    const matches = (verifier: ScramVerifier): Promise<boolean> =>
      this.#derivations.run(() => passwordMatches(password, verifier));
    try {
      const { verifiers } = await this.#o.lookUp(endpoint, role, database);
      for (const credential of verifiers) {
        if (!(await matches(credential))) continue;
        giveBack();
        return credential;
      }
      // The same work for a role that does not exist: time must not tell.
      if (verifiers.length === 0) await matches(this.#nobody);
    } catch (error) {
      if (asCoppiceError(error).retryable) giveBack();
      throw error;
    }
    throw wrongPassword(role);
  }

  #remember(key: string, entry: Remembered): void {
    this.#remembered.delete(key);
    this.#remembered.set(key, entry);
    for (const [oldest, { untilMs }] of this.#remembered) {
      if (untilMs > this.#o.clock.now() && this.#remembered.size <= MAX_REMEMBERED) break;
      this.#remembered.delete(oldest);
    }
  }

  #digest(login: PasswordLogin): string {
    const text = JSON.stringify([login.endpoint, login.role, login.database, login.password]);
    return createHmac('sha256', this.#digestKey).update(text).digest('base64');
  }
}
