import type { BranchId, ProjectId } from '@coppice/vocabulary';
import type { Db } from './database';
import type { ApiKeyScope } from './schema';

/** Who an API key speaks for and how far it reaches. */
export interface Principal {
  readonly agentId: string;
  readonly name: string;
  readonly scope: ApiKeyScope;
  readonly projectId: ProjectId | undefined;
  readonly branchId: BranchId | undefined;
  /** Of the agent, Unix milliseconds. */
  readonly createdAt: number;
}

/** The principal of a key that is not revoked, by the SHA-256 of the key. */
export async function findPrincipal(db: Db, keyHash: Buffer): Promise<Principal | undefined> {
  const row = await db
    .selectFrom('api_keys as k')
    .innerJoin('agents as a', 'a.id', 'k.agent_id')
    .select(['a.id', 'a.name', 'k.scope', 'k.project_id', 'k.branch_id', 'a.created_at'])
    .where('k.key_hash', '=', keyHash)
    .where('k.revoked_at', 'is', null)
    .executeTakeFirst();
  if (!row) return undefined;
  return {
    agentId: row.id,
    name: row.name,
    scope: row.scope,
    projectId: (row.project_id ?? undefined) as ProjectId | undefined,
    branchId: (row.branch_id ?? undefined) as BranchId | undefined,
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
      created_at: key.now,
    })
    .onConflict((c) => c.column('key_hash').doNothing())
    .execute();
}
