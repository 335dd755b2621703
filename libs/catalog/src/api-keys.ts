/** API keys: only the SHA-256 of a key is kept. */
import { sql, type Selectable } from 'kysely';
import type { AgentLimits } from '@coppice/quotas';
import type { BranchId, ProjectId } from '@coppice/vocabulary';
import { limitsOf } from './agents';
import type { Db } from './database';
import type { AgentsTable, ApiKeyScope, ApiKeysTable } from './schema';

export type ApiKeyRow = Selectable<ApiKeysTable>;

/** Who an API key speaks for, how far it reaches, and what its agent may have. */
export interface Principal {
  readonly keyId: number;
  readonly agentId: string;
  readonly name: string;
  readonly scope: ApiKeyScope;
  readonly projectId: ProjectId | undefined;
  readonly branchId: BranchId | undefined;
  /** Unix milliseconds; absent: never. */
  readonly expiresAt: number | undefined;
  readonly limits: AgentLimits;
  readonly quotaEpoch: number;
  /** Of the agent, Unix milliseconds. */
  readonly createdAt: number;
}

/** The principal of a key that is not revoked, by the SHA-256 of the key. */
export async function findPrincipal(db: Db, keyHash: Buffer): Promise<Principal | undefined> {
  const { rows } = await sql<
    Selectable<AgentsTable> & {
      key_id: number;
      scope: ApiKeyScope;
      project_id: string | null;
      branch_id: string | null;
      expires_at: number | null;
    }
  >`
    select a.*, k.id as key_id, k.scope, k.project_id, k.branch_id, k.expires_at
    from api_keys k join agents a on a.id = k.agent_id
    where k.key_hash = ${keyHash} and k.revoked_at is null and a.deleted_at is null`.execute(db);
  const row = rows[0];
  if (!row) return undefined;
  return {
    keyId: row.key_id,
    agentId: row.id,
    name: row.name,
    scope: row.scope,
    projectId: (row.project_id ?? undefined) as ProjectId | undefined,
    branchId: (row.branch_id ?? undefined) as BranchId | undefined,
    expiresAt: row.expires_at ?? undefined,
    limits: limitsOf(row),
    quotaEpoch: row.quota_epoch,
    createdAt: row.created_at,
  };
}

/** Makes sure that an agent has a key with this hash; both are left as they are when they exist. */
export async function ensureApiKey(
  db: Db,
  key: { agentId: string; name: string; keyHash: Buffer; scope: ApiKeyScope; now: Date },
): Promise<void> {
  await db
    .insertInto('agents')
    .values({ id: key.agentId, name: key.name, created_at: key.now, updated_at: key.now })
    .onConflict((c) => c.column('id').doNothing())
    .execute();
  await db
    .insertInto('api_keys')
    .values({
      agent_id: key.agentId,
      name: key.name,
      key_hash: key.keyHash,
      scope: key.scope,
      project_id: null,
      branch_id: null,
      created_by: null,
      created_at: key.now,
    })
    .onConflict((c) => c.column('key_hash').doNothing())
    .execute();
}

export interface NewApiKey {
  readonly agentId: string;
  readonly name: string;
  readonly keyHash: Buffer;
  readonly scope: ApiKeyScope;
  readonly projectId: ProjectId | undefined;
  readonly branchId: BranchId | undefined;
  /** The key that made it. */
  readonly createdBy: number | undefined;
  readonly expiresAt: Date | undefined;
  readonly now: Date;
}

/** Most keys of one agent that are neither revoked nor expired. */
export const MAX_API_KEYS = 1_000;

/** `undefined` when the agent has as many keys as it may have. */
export async function insertApiKey(db: Db, k: NewApiKey): Promise<ApiKeyRow | undefined> {
  const { rows } = await sql<ApiKeyRow>`
    insert into api_keys (agent_id, name, key_hash, scope, project_id, branch_id, created_by, expires_at, created_at)
    select ${k.agentId}, ${k.name}, ${k.keyHash}::bytea, ${k.scope}, ${k.projectId ?? null}, ${k.branchId ?? null}, ${k.createdBy ?? null}::bigint,
      ${k.expiresAt ?? null}::timestamptz, ${k.now}::timestamptz
    where (select count(*) from api_keys where agent_id = ${k.agentId} and revoked_at is null and (expires_at is null or expires_at > ${k.now}::timestamptz)) < ${MAX_API_KEYS}::integer
    returning *`.execute(db);
  return rows[0];
}

/** Keys of an agent that are neither revoked nor expired, oldest first. */
export async function listApiKeys(db: Db, agentId: string, now: Date): Promise<ApiKeyRow[]> {
  return db
    .selectFrom('api_keys')
    .selectAll()
    .where('agent_id', '=', agentId)
    .where('revoked_at', 'is', null)
    .where(sql<boolean>`(expires_at is null or expires_at > ${now})`)
    .orderBy('id')
    .limit(MAX_API_KEYS)
    .execute();
}

/** Revokes a key; with `agentId`, only when it belongs to that agent. `undefined` when there is none to revoke. */
export async function revokeApiKey(
  db: Db,
  id: number,
  agentId: string | undefined,
  now: Date,
): Promise<ApiKeyRow | undefined> {
  let query = db
    .updateTable('api_keys')
    .set({ revoked_at: now })
    .where('id', '=', id)
    .where('revoked_at', 'is', null);
  if (agentId !== undefined) query = query.where('agent_id', '=', agentId);
  return query.returningAll().executeTakeFirst();
}

/** Notes when and from where keys were last used. */
export async function recordKeyUse(
  db: Db,
  uses: readonly { readonly keyId: number; readonly at: Date; readonly from: string }[],
): Promise<void> {
  if (uses.length === 0) return;
  await sql`
    update api_keys k set last_used_at = greatest(k.last_used_at, u.at), last_used_from = u.address
    from unnest(${uses.map((u) => u.keyId)}::bigint[], ${uses.map((u) => u.at)}::timestamptz[], ${uses.map((u) => u.from)}::text[]) as u(id, at, address)
    where k.id = u.id`.execute(db);
}
