import type { KeyObject } from 'node:crypto';
import { type Clock, systemClock } from './clock';
import { type Identity, invalidIdentity, parseIdentityPublicKey, verifyIdentity } from './identity';

/** Tokens remembered as good; the oldest is forgotten beyond it. One per service and one per running compute are in use. */
const MAX_REMEMBERED = 10_000;

/** Believes tokens of one key. A token is verified once and then remembered: a call costs a look into a map. */
export class IdentityVerifier {
  readonly #key: KeyObject;
  readonly #clock: Clock;
  readonly #known = new Map<string, Identity>();
  readonly #maxRemembered: number;

  constructor(publicKey: string, clock: Clock = systemClock, maxRemembered = MAX_REMEMBERED) {
    this.#key = parseIdentityPublicKey(publicKey);
    this.#clock = clock;
    this.#maxRemembered = maxRemembered;
  }

  /** Throws `identity-invalid` for a token that is not signed with the key or has expired. */
  verify(token: string): Identity {
    const identity = this.#known.get(token) ?? this.#remember(token, verifyIdentity(this.#key, token));
    if (identity.expiresUnixMs !== undefined && identity.expiresUnixMs <= this.#clock.now()) {
      this.#known.delete(token);
      throw invalidIdentity('it has expired');
    }
    return identity;
  }

  /** Good tokens in memory. */
  get remembered(): number {
    return this.#known.size;
  }

  #remember(token: string, identity: Identity): Identity {
    this.#known.set(token, identity);
    if (this.#known.size > this.#maxRemembered) this.#known.delete(this.#known.keys().next().value!);
    return identity;
  }
}
