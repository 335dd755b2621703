/**
 * Leases: time-bounded exclusive claims on a name, each with a fencing token.
 *
 * A holder may be paused past the end of its lease without noticing, and a store may lose its data, so two processes can both
 * believe to hold a name. What protects the guarded resource is the token: it remembers the greatest it has seen and refuses
 * smaller ones. Hence tokens of one name grow strictly, also over expiry, release and loss of the store:
 *
 *     token = max(last token + 1, the store's clock in Unix microseconds, the caller's `above` + 1)
 *
 * The clock makes tokens grow when the store forgot the last one: tokens run ahead of the clock only when a name is acquired
 * more than once in a microsecond. The last token makes them grow when the clock steps back; it is kept for a day after the
 * lease ended, so that names come and go without filling the store. When both fail at once, a store that lost its data and
 * whose clock is behind, `above` holds: pass the token that the resource remembers, where it can be read. 2^53 microseconds
 * last until the year 2255.
 */
import type { Brand } from '@coppice/vocabulary';

/** Grows with every acquisition of a name; a safe integer. */
export type FencingToken = Brand<number, 'FencingToken'>;

/** A token that was read back from where it was remembered. */
export function fencingToken(value: number): FencingToken {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new RangeError(`fencing token ${value} is not an integer from 0 to 2^53-1`);
  return value as FencingToken;
}

export interface AcquireOptions {
  /** The greatest token that the guarded resource remembers. */
  readonly above?: number;
  readonly signal?: AbortSignal;
}

/** For how long the last token of a name is remembered after its lease ended. */
export const TOKEN_MEMORY_MS = 24 * 3600 * 1000;

/**
 * Every call answers within a second or fails with `Unavailable` `lease-store-unavailable`; it may then have been carried out
 * or not. Holders are named uniquely per process and start.
 */
export interface LeaseStore {
  /**
   * A token, or `undefined` while another holder has the name. The same holder gets a new token, with which its old one
   * ends: so it takes back a lease whose answer was lost.
   */
  acquire(
    name: string,
    holder: string,
    ttlMs: number,
    options?: AcquireOptions,
  ): Promise<FencingToken | undefined>;

  /** Holds the lease for `ttlMs` from now; `false` when it ended or somebody else has it. */
  renew(
    name: string,
    holder: string,
    token: FencingToken,
    ttlMs: number,
    signal?: AbortSignal,
  ): Promise<boolean>;

  /** Ends the lease, if it is still this one. */
  release(name: string, holder: string, token: FencingToken, signal?: AbortSignal): Promise<void>;

  /** Who holds a name now; `undefined` when nobody does. It may be over by the time it is known. */
  holderOf(name: string, signal?: AbortSignal): Promise<string | undefined>;
}
