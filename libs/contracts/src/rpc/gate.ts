/**
 * What stands before the handlers of a server: each call must carry a token that this fleet's key signed, of a service that
 * the contract's table lets call the method. A stream is asked once, when it opens; what its messages name is compared with
 * the token as they come.
 */
import { type Clock, Counter, CoppiceError, type Identity, type Log } from '@coppice/service-kit';
import { type Access, checkRequest, checkService } from '../access';
import type { ServerSecurity } from './security';

/** Lines in the log about refused calls per window; the first line after it says how many were left out. */
const LINES_PER_WINDOW = 5;
const WINDOW_MS = 10_000;

const refusedCalls = new Counter({
  name: 'coppice_refused_calls_total',
  help: 'Calls refused for who called, by code.',
  labelNames: ['code'],
});

export interface GateOptions {
  /** Where the server listens. */
  readonly address: string;
  readonly verifier: ServerSecurity['verifier'];
  readonly log: Log;
  readonly clock: Clock;
}

/** Someone's way into one call. */
export interface Pass {
  /** Absent where callers are told apart by API key and this one showed no token. */
  readonly identity: Identity | undefined;
  /** Throws when a message is about what the caller's token does not open. */
  check(request: unknown): void;
}

/** The entry of one method: `undefined` where the handler asks for an API key. */
export type MethodAccess = Access<never> | undefined;

const OPEN: Pass = { identity: undefined, check: () => undefined };

export class Gate {
  readonly #options: GateOptions;
  #windowStartMs = -Infinity;
  #linesInWindow = 0;
  #unlogged = 0;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /** Lets a call in, or throws `identity-missing`, `identity-invalid` or `identity-not-allowed`. */
  enter(method: string, access: MethodAccess, token: string | undefined): Pass {
    if (access === undefined) return OPEN;
    try {
      if (!token)
        throw new CoppiceError(
          'Unauthenticated',
          'identity-missing',
          `a call of ${method} carries no identity`,
          {
            remedy: 'Give the caller an identity token (COPPICE_IDENTITY_TOKEN).',
          },
        );
      const identity = this.#options.verifier.verify(token);
      this.#checkAudience(identity);
      checkService(access, identity, method);
      return { identity, check: (request) => this.#check(method, access, identity, request) };
    } catch (error) {
      throw this.#refuse(method, undefined, error);
    }
  }

  #checkAudience({ service, audience }: Identity): void {
    if (audience === undefined || audience === this.#options.address) return;
    throw new CoppiceError(
      'Forbidden',
      'identity-not-allowed',
      `a token that ${service} made for ${audience} was shown at ${this.#options.address}`,
      { remedy: 'Find out who passes on the tokens of others.' },
    );
  }

  #check(method: string, access: Access<never>, identity: Identity, request: unknown): void {
    try {
      checkRequest(access as Access<unknown>, identity, request);
    } catch (error) {
      throw this.#refuse(method, identity, error);
    }
  }

  #refuse(method: string, identity: Identity | undefined, error: unknown): unknown {
    if (!(error instanceof CoppiceError)) return error;
    refusedCalls.inc({ code: error.code });
    const now = this.#options.clock.monotonic();
    if (now - this.#windowStartMs >= WINDOW_MS) {
      this.#windowStartMs = now;
      this.#linesInWindow = 0;
    }
    this.#linesInWindow += 1;
    if (this.#linesInWindow > LINES_PER_WINDOW) {
      this.#unlogged += 1;
      return error;
    }
    this.#options.log.warn(
      { method, code: error.code, why: error.message, caller: identity, unlogged: this.#unlogged },
      'call is refused',
    );
    this.#unlogged = 0;
    return error;
  }
}
