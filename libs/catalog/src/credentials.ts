/** Scoped credentials: logins of their own that open one branch for a while. Roles' own credentials are in logins.ts. */
import { sql } from 'kysely';
import type { BranchId } from '@coppice/vocabulary';
import type { Db } from './database';
import type { CredentialRow, StoredVerifier } from './logins';
import type { CredentialAccess } from './schema';

export interface NewScopedCredential {
  readonly id: string;
  readonly branchId: BranchId;
  readonly name: string;
  readonly login: string;
  readonly roleName: string;
  readonly access: CredentialAccess;
  readonly ttlSeconds: number;
  readonly verifier: StoredVerifier;
  readonly createdBy: string;
  readonly now: Date;
}

/** Most credentials of one branch that are neither revoked nor expired. */
export const MAX_SCOPED_CREDENTIALS = 1_000;

const LIVE = (now: Date) => sql<boolean>`revoked_at is null and (expires_at is null or expires_at > ${now})`;

/** `undefined` when the branch has as many as it may have. */
export async function insertScopedCredential(
  db: Db,
  c: NewScopedCredential,
): Promise<CredentialRow | undefined> {
  const { rows } = await sql<CredentialRow>`
    insert into credentials (id, branch_id, role_name, version, kind, login, name, access, ttl_seconds, created_by, expires_at, created_at,
      iterations, salt, stored_key, server_key)
    select ${c.id}::uuid, ${c.branchId}, ${c.roleName}, 0, 'scoped', ${c.login}, ${c.name}, ${c.access}, ${c.ttlSeconds}::integer, ${c.createdBy},
      ${new Date(c.now.getTime() + c.ttlSeconds * 1000)}::timestamptz, ${c.now}::timestamptz,
      ${c.verifier.iterations}::integer, ${c.verifier.salt}::bytea, ${c.verifier.storedKey}::bytea, ${c.verifier.serverKey}::bytea
    where (select count(*) from credentials where branch_id = ${c.branchId} and kind = 'scoped' and ${LIVE(c.now)}) < ${MAX_SCOPED_CREDENTIALS}::integer
    returning *`.execute(db);
  return rows[0];
}

/** Neither revoked nor expired, newest first. */
export async function listScopedCredentials(db: Db, branchId: BranchId, now: Date): Promise<CredentialRow[]> {
  return db
    .selectFrom('credentials')
    .selectAll()
    .where('branch_id', '=', branchId)
    .where('kind', '=', 'scoped')
    .where(LIVE(now))
    .orderBy('created_at', 'desc')
    .limit(MAX_SCOPED_CREDENTIALS)
    .execute();
}

/** Starts a credential's time to live anew; `undefined` when it is over or not there. */
export async function renewScopedCredential(
  db: Db,
  branchId: BranchId,
  id: string,
  now: Date,
): Promise<CredentialRow | undefined> {
  const { rows } = await sql<CredentialRow>`
    update credentials set expires_at = ${now}::timestamptz + ttl_seconds * interval '1 second'
    where id = ${id}::uuid and branch_id = ${branchId} and kind = 'scoped' and ${LIVE(now)} returning *`.execute(
    db,
  );
  return rows[0];
}

/** `undefined` when it is not there or was revoked before. */
export async function revokeScopedCredential(
  db: Db,
  branchId: BranchId,
  id: string,
  now: Date,
): Promise<CredentialRow | undefined> {
  const { rows } = await sql<CredentialRow>`
    update credentials set revoked_at = ${now} where id = ${id}::uuid and branch_id = ${branchId} and kind = 'scoped' and revoked_at is null
    returning *`.execute(db);
  return rows[0];
}

/** Of these credentials, those that open nothing any more: revoked, expired, gone, or of a deleted branch. */
export async function findEndedCredentials(db: Db, ids: readonly string[], now: Date): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    select asked.id from unnest(${[...ids]}::text[]) as asked(id)
      left join credentials c on c.id = asked.id::uuid
      left join branches b on b.id = c.branch_id
    where c.id is null or c.revoked_at is not null or c.expires_at <= ${now} or b.deleted_at is not null`.execute(
    db,
  );
  return rows.map((r) => r.id);
}
