/**
 * Idempotency keys: the same key with the same request gives the answer of the first time; with another request it is
 * refused. The entry is written in the transaction that does the work, so of two that race one does it and the other answers
 * from the entry. Answers are kept without secrets; `reveal` puts them back.
 */
import { createHash } from 'node:crypto';
import { type Db, findIdempotent, type IdempotencyEntry, lostIdempotencyRace } from '@coppice/catalog';
import type { CallContext } from '@coppice/contracts';
import { asCoppiceError, CoppiceError } from '@coppice/service-kit';
import type { Caller } from './authorize';

const MAX_KEY = 255;

export interface Idempotent<T> {
  /** Names the kind of request. */
  readonly method: string;
  readonly request: unknown;
  /** Does the work and writes the entry that `entry` makes of the answer, both or neither. */
  readonly run: (entry: ((answer: T) => IdempotencyEntry) | undefined) => Promise<T>;
  /** Puts what is not kept back into a kept answer. */
  readonly reveal: (kept: T) => Promise<T>;
}

export async function idempotently<T>(
  db: Db,
  caller: Caller,
  context: CallContext,
  work: Idempotent<T>,
): Promise<T> {
  const key = context.header('idempotency-key');
  if (key === undefined || key === '') return work.run(undefined);
  if (key.length > MAX_KEY)
    throw new CoppiceError(
      'Malformed',
      'bad-idempotency-key',
      `the idempotency key has ${key.length} characters`,
      { remedy: `Use at most ${MAX_KEY}.` },
    );
  const fingerprint = createHash('sha256')
    .update(`${work.method}\n${reachOf(caller)}\n${toJson(work.request)}`)
    .digest();
  const replay = async (): Promise<T | undefined> => {
    const found = await findIdempotent(db, caller.agentId, key);
    if (!found) return undefined;
    if (!found.fingerprint.equals(fingerprint)) {
      throw new CoppiceError(
        'Invalid',
        'idempotency-key-reused',
        'this idempotency key was used for another request',
        { remedy: 'Use a new key for a new request.' },
      );
    }
    return work.reveal(fromJson<T>(found.answer));
  };
  const before = await replay();
  if (before !== undefined) return before;
  try {
    return await work.run((answer) => ({ key, fingerprint, answer: toJson(answer) }));
  } catch (error) {
    // The other of two that race may have been told apart by the key or by the name it took.
    const winner =
      lostIdempotencyRace(error) || asCoppiceError(error).kind === 'Conflict' ? await replay() : undefined;
    if (winner === undefined) throw error;
    return winner;
  }
}

/** An answer is for keys that reach as far as the one that it was given to: others may not see what is in it. */
function reachOf({ projectId, branchId }: Caller): string {
  return `${projectId ?? ''}/${branchId ?? ''}`;
}

const BIGINT = '$bigint';

function toJson(value: unknown): string {
  return JSON.stringify(value, (_, v: unknown) => (typeof v === 'bigint' ? { [BIGINT]: v.toString() } : v));
}

function fromJson<T>(kept: unknown): T {
  if (Array.isArray(kept)) return kept.map((v) => fromJson(v)) as T;
  if (typeof kept !== 'object' || kept === null) return kept as T;
  if (BIGINT in kept) return BigInt((kept as { [BIGINT]: string })[BIGINT]) as T;
  return Object.fromEntries(Object.entries(kept).map(([k, v]) => [k, fromJson(v)])) as T;
}
