/** Bringing deleted branches and projects back; see deletion.ts. */
import { sql } from 'kysely';
import type { BranchId, ProjectId } from '@coppice/vocabulary';
import type { BranchRow } from './branches';
import type { Db } from './database';
import type { ProjectRow } from './projects';

/** A deleted branch, as long as it is in the tables. */
export async function findDeletedBranch(
  db: Db,
  projectId: ProjectId,
  id: BranchId,
): Promise<BranchRow | undefined> {
  return db
    .selectFrom('branches')
    .selectAll()
    .where('id', '=', id)
    .where('project_id', '=', projectId)
    .where('deleted_at', 'is not', null)
    .executeTakeFirst();
}

/** A deleted project that can be recovered at `now`; with `agentId`, only when it belongs to that agent. */
export async function findRecoverableProject(
  db: Db,
  id: ProjectId,
  now: Date,
  agentId?: string,
): Promise<ProjectRow | undefined> {
  let query = db
    .selectFrom('projects')
    .selectAll()
    .where('id', '=', id)
    .where('deleted_at', 'is not', null)
    .where(sql<boolean>`recoverable_until > ${now}`);
  if (agentId !== undefined) query = query.where('agent_id', '=', agentId);
  return query.executeTakeFirst();
}

/** The branches of one deletion that can still be recovered at `now`, held until the transaction ends. */
export async function lockDeletedTogether(
  tx: Db,
  projectId: ProjectId,
  deletionId: string,
  now: Date,
): Promise<BranchRow[]> {
  const { rows } = await sql<BranchRow>`
    select * from branches where deletion_id = ${deletionId}::uuid and project_id = ${projectId} and recoverable_until > ${now}::timestamptz
    order by id for update`.execute(tx);
  return rows;
}

/** How many branches of one deletion could come back at `now`. */
export async function countDeletedTogether(
  db: Db,
  projectId: ProjectId,
  deletionId: string | null,
  now: Date,
): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*) as count from branches
    where deletion_id = ${deletionId}::uuid and project_id = ${projectId} and recoverable_until > ${now}::timestamptz`.execute(
    db,
  );
  return rows[0]?.count ?? 0;
}

/** Those of the names that live branches of the project bear. */
export async function findTakenNames(
  db: Db,
  projectId: ProjectId,
  names: readonly string[],
): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    select name from branches where project_id = ${projectId} and deleted_at is null and name = any(${names}::text[])`.execute(
    db,
  );
  return rows.map((r) => r.name);
}

export interface RecoveredBranch {
  readonly id: BranchId;
  readonly name: string;
  /** When it is due to end; absent: as it has no time to live. */
  readonly expiresAt: Date | undefined;
  readonly isDefault: boolean;
}

/** Brings branches of one deletion back with the endpoints that went with them. Throws on `branches_name` when a name is taken. */
export async function recoverBranches(
  tx: Db,
  deletionId: string,
  branches: readonly RecoveredBranch[],
  now: Date,
): Promise<void> {
  const rows = JSON.stringify(
    branches.map((b) => ({
      id: b.id,
      name: b.name,
      expires_at: b.expiresAt?.toISOString() ?? null,
      is_default: b.isDefault,
    })),
  );
  await sql`
    with back as (
      update branches b set deleted_at = null, deletion_id = null, deletion_method = null, recoverable_until = null,
        name = r.name, expires_at = r.expires_at, is_default = r.is_default, updated_at = ${now}::timestamptz
      from jsonb_to_recordset(${rows}::jsonb) as r(id text, name text, expires_at timestamptz, is_default boolean)
      where b.id = r.id and b.deletion_id = ${deletionId}::uuid returning b.id
    )
    update endpoints set deleted_at = null, deletion_id = null, updated_at = ${now}::timestamptz
    where deletion_id = ${deletionId}::uuid and branch_id in (select id from back)`.execute(tx);
}

/** Makes a deleted project live again, in a transaction that holds its tree. */
export async function recoverProject(
  tx: Db,
  id: ProjectId,
  defaultBranch: BranchId,
  now: Date,
): Promise<void> {
  await sql`
    update projects set deleted_at = null, deletion_id = null, recoverable_until = null, default_branch_id = ${defaultBranch}, updated_at = ${now}::timestamptz
    where id = ${id}`.execute(tx);
}
