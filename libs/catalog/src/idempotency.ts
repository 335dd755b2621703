import { sql } from 'kysely';
import type { Db } from './database';
import { violatedIndex } from './database';

/** What is kept of a request that carried an idempotency key; written in the transaction that does the work. */
export interface IdempotencyEntry {
  readonly key: string;
  /** Hash of the method and the request: the same key with another request is refused. */
  readonly fingerprint: Buffer;
  /** JSON text, without secrets. */
  readonly answer: string;
}

export async function findIdempotent(
  db: Db,
  agentId: string,
  key: string,
): Promise<{ fingerprint: Buffer; answer: unknown } | undefined> {
  return db
    .selectFrom('idempotency_keys')
    .select(['fingerprint', 'answer'])
    .where('agent_id', '=', agentId)
    .where('key', '=', key)
    .executeTakeFirst();
}

export async function insertIdempotent(
  db: Db,
  agentId: string,
  entry: IdempotencyEntry,
  now: Date,
): Promise<void> {
  await db
    .insertInto('idempotency_keys')
    .values({
      agent_id: agentId,
      key: entry.key,
      fingerprint: entry.fingerprint,
      answer: entry.answer,
      created_at: now,
    })
    .execute();
}

/** Whether a failed statement lost against another request with the same idempotency key. */
export function lostIdempotencyRace(error: unknown): boolean {
  return violatedIndex(error) === 'idempotency_keys_pkey';
}

/** Forgets keys made before `before`, at most `limit`; answers with how many. */
export async function forgetIdempotencyKeys(db: Db, before: Date, limit: number): Promise<number> {
  const result = await sql`
    delete from idempotency_keys where ctid = any (array(select ctid from idempotency_keys where created_at < ${before} order by created_at limit ${limit}))`.execute(
    db,
  );
  return Number(result.numAffectedRows ?? 0);
}
