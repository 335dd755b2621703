/** Roles, databases and the credentials of a branch. */
import { type RawBuilder, sql, type Selectable } from 'kysely';
import type { BranchId, EndpointId } from '@coppice/vocabulary';
import type { Db } from './database';
import type { CredentialsTable, DatabasesTable, RolesTable } from './schema';

export type RoleRow = Selectable<RolesTable> & { readonly version: number | null };
export type DatabaseRow = Selectable<DatabasesTable>;
export type CredentialRow = Selectable<CredentialsTable>;

/** The roles of a branch, each with the version of its newest credential. */
export async function listRoles(db: Db, branchId: BranchId): Promise<RoleRow[]> {
  const { rows } = await sql<RoleRow>`
    select r.*, (select max(version) from credentials c where c.branch_id = r.branch_id and c.role_name = r.name and c.kind = 'role' and c.revoked_at is null) as version
    from roles r where r.branch_id = ${branchId} order by r.name`.execute(db);
  return rows;
}

export async function listDatabases(db: Db, branchId: BranchId): Promise<DatabaseRow[]> {
  return db.selectFrom('databases').selectAll().where('branch_id', '=', branchId).orderBy('id').execute();
}

/** What opens the branch behind an endpoint as `role`: the branch, and its credentials that are neither revoked nor expired. */
export interface LoginRow {
  readonly branchId: BranchId;
  /** Whose project it is. */
  readonly agentId: string;
  readonly disabled: boolean;
  readonly credentials: readonly CredentialRow[];
}

/** Most credentials that a login considers, newest first: an exchange names one salt before it knows which password comes. */
const MAX_CREDENTIALS = 8;

export async function findLogin(
  db: Db,
  endpointId: EndpointId,
  role: string,
  now: Date,
): Promise<LoginRow | undefined> {
  const endpoint = await db
    .selectFrom('endpoints as e')
    .innerJoin('branches as b', 'b.id', 'e.branch_id')
    .innerJoin('projects as p', 'p.id', 'b.project_id')
    .select(['e.branch_id', 'e.disabled', 'p.agent_id'])
    .where('e.id', '=', endpointId)
    .where('e.deleted_at', 'is', null)
    .where('b.deleted_at', 'is', null)
    .executeTakeFirst();
  if (!endpoint) return undefined;
  const credentials = await db
    .selectFrom('credentials')
    .selectAll()
    .where('branch_id', '=', endpoint.branch_id)
    .where((e) =>
      e.or([
        e.and([e('kind', '=', 'role'), e('role_name', '=', role)]),
        e.and([e('kind', '=', 'scoped'), e('login', '=', role)]),
      ]),
    )
    .where('revoked_at', 'is', null)
    .where(sql<boolean>`(expires_at is null or expires_at > ${now})`)
    .orderBy('version', 'desc')
    .limit(MAX_CREDENTIALS)
    .execute();
  const { branch_id: branchId, agent_id: agentId, disabled } = endpoint;
  return { branchId, agentId, disabled, credentials };
}

export interface StoredVerifier {
  readonly iterations: number;
  readonly salt: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

/** Stores a credential's verifier unless it has one, and answers with the one that stands. */
export async function storeVerifier(
  db: Db,
  credentialId: string,
  v: StoredVerifier,
): Promise<StoredVerifier | undefined> {
  const { rows } = await sql<CredentialRow>`
    update credentials set iterations = coalesce(iterations, ${v.iterations}), salt = coalesce(salt, ${v.salt}),
      stored_key = coalesce(stored_key, ${v.storedKey}), server_key = coalesce(server_key, ${v.serverKey})
    where id = ${credentialId} returning *`.execute(db);
  return rows[0] && verifierOf(rows[0]);
}

/** The verifier of a credential that has one. */
export function verifierOf(row: CredentialRow): StoredVerifier | undefined {
  const { iterations, salt, stored_key: storedKey, server_key: serverKey } = row;
  return iterations === null || !salt || !storedKey || !serverKey
    ? undefined
    : { iterations, salt, storedKey, serverKey };
}

/** Whether a branch has a credential that somebody can connect with as a role. */
export function opens(branchId: RawBuilder<unknown>, role: RawBuilder<unknown>) {
  return sql<boolean>`exists (select from credentials where credentials.branch_id = ${branchId} and credentials.role_name = ${role} and revoked_at is null)`;
}
