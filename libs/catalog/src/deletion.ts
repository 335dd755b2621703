/**
 * Deleting and recovering branches. What one request deletes carries one `deletion_id`, stays in the tables until
 * `recoverable_until`, and comes back whole. All that changes which branches a project has, other than making new ones, holds
 * the project's row (`lockProjectTree`); making a branch holds its parent's row in share mode, so that none is made under a
 * branch that is being deleted.
 */
import { sql } from 'kysely';
import type { BranchId, EndpointId, ProjectId } from '@coppice/vocabulary';
import type { AuditEntry } from './audit-log';
import type { BranchRow } from './branches';
import type { ComputeRow } from './computes';
import type { Db } from './database';
import type { ProjectRow } from './projects';

/** What all things that are deleted together have in common. */
export interface Deletion {
  readonly id: string;
  readonly method: 'user' | 'ttl';
  /** From then on it is purged; `now` or earlier: cannot be recovered. */
  readonly recoverableUntil: Date;
  readonly now: Date;
}

/** The project, deleted or not, with its tree held until the transaction ends. Forks go on meanwhile. */
export async function lockProjectTree(tx: Db, id: ProjectId): Promise<ProjectRow | undefined> {
  return tx.selectFrom('projects').selectAll().where('id', '=', id).forNoKeyUpdate().executeTakeFirst();
}

/**
 * A branch and its descendants, held until the transaction ends; branches that were cut loose because their parent was deleted
 * without them are none. Empty when the branch is not there, `undefined` when there are more than `limit`.
 */
export async function lockSubtree(
  tx: Db,
  root: { readonly projectId: ProjectId; readonly id: BranchId },
  limit: number,
): Promise<BranchRow[] | undefined> {
  let held = new Set<BranchId>();
  for (;;) {
    const { rows } = await sql<{ id: BranchId }>`
      with recursive tree as (
        select id from branches where id = ${root.id} and project_id = ${root.projectId} and deleted_at is null
        union
        select b.id from tree join branches b on b.parent_id = tree.id where b.deleted_at is null
      ) select id from tree limit ${limit + 1}::integer`.execute(tx);
    if (rows.length > limit) return undefined;
    const found = await lockBranches(
      tx,
      rows.map((r) => r.id),
    );
    // A fork that was being made when its parent was locked is seen by the next look only.
    if (found.every((b) => held.has(b.id)) && found.length === held.size) return found;
    held = new Set(found.map((b) => b.id));
    if (held.size === 0) return [];
  }
}

/** Those of the branches that are not deleted, held until the transaction ends, oldest first. */
export async function lockBranches(tx: Db, ids: readonly BranchId[]): Promise<BranchRow[]> {
  const { rows } = await sql<BranchRow>`
    select * from branches where id = any(${ids}::text[]) and deleted_at is null order by id for update`.execute(
    tx,
  );
  return rows.sort((a, b) => a.created_at - b.created_at || (a.id < b.id ? -1 : 1));
}

/** Some of the branches whose parent is `id`. */
export async function findChildren(
  db: Db,
  id: BranchId,
  limit: number,
): Promise<{ id: BranchId; name: string }[]> {
  return db
    .selectFrom('branches')
    .select(['id', 'name'])
    .where('parent_id', '=', id)
    .where('deleted_at', 'is', null)
    .orderBy('created_at')
    .limit(limit)
    .execute();
}

/** Deletes branches that the transaction holds, with their endpoints. Live computes are left `stopping`, for the caller to end. */
export async function markBranchesDeleted(tx: Db, ids: readonly BranchId[], d: Deletion): Promise<void> {
  const { rows } = await sql<{ id: EndpointId }>`
    with gone as (
      update branches set deleted_at = ${d.now}::timestamptz, updated_at = ${d.now}::timestamptz, deletion_id = ${d.id}::uuid,
        deletion_method = ${d.method}, recoverable_until = ${d.recoverableUntil}::timestamptz
      where id = any(${ids}::text[]) and deleted_at is null
    )
    update endpoints set deleted_at = ${d.now}::timestamptz, updated_at = ${d.now}::timestamptz, deletion_id = ${d.id}::uuid
    where branch_id = any(${ids}::text[]) and deleted_at is null returning id`.execute(tx);
  // Apart from the above: a compute may have been claimed while its endpoint's row was waited for.
  if (rows.length > 0)
    await sql`
      update computes set state = 'stopping', idle_due_at = null
      where endpoint_id = any(${rows.map((r) => r.id)}::text[]) and state in ('starting', 'running')`.execute(
      tx,
    );
}

/** Makes the oldest branch that is left the default one; `undefined` when none is left. */
export async function promoteOldestBranch(
  tx: Db,
  projectId: ProjectId,
  former: BranchId,
  now: Date,
): Promise<BranchId | undefined> {
  const { rows } = await sql<{ id: BranchId }>`
    select id from branches where project_id = ${projectId} and deleted_at is null order by created_at, id limit 1 for update`.execute(
    tx,
  );
  const next = rows[0]?.id;
  if (next !== undefined) await setDefaultBranch(tx, projectId, { from: former, to: next }, now);
  return next;
}

/** Hands the role of default branch on, in a transaction that holds the project's tree. */
export async function setDefaultBranch(
  tx: Db,
  projectId: ProjectId,
  { from, to }: { readonly from: BranchId; readonly to: BranchId },
  now: Date,
): Promise<void> {
  await sql`
    with branches_changed as (
      update branches set is_default = (id = ${to}), updated_at = ${now}::timestamptz where id in (${from}, ${to})
    )
    update projects set default_branch_id = ${to}, updated_at = ${now}::timestamptz where id = ${projectId}`.execute(
    tx,
  );
}

/** Deletes a project whose tree the transaction holds, with all its branches. What of it was deleted before ends no later than it. */
export async function markProjectDeleted(tx: Db, id: ProjectId, d: Deletion): Promise<void> {
  await sql`
    update projects set deleted_at = ${d.now}::timestamptz, updated_at = ${d.now}::timestamptz, deletion_id = ${d.id}::uuid,
      recoverable_until = ${d.recoverableUntil}::timestamptz where id = ${id}`.execute(tx);
  // Again until none is left: a fork that was being made when its parent's row was waited for is seen by the next look only.
  for (;;) {
    const { rows } = await sql<{ id: BranchId }>`
      select id from branches where project_id = ${id} and deleted_at is null order by id for update`.execute(
      tx,
    );
    if (rows.length === 0) break;
    await markBranchesDeleted(
      tx,
      rows.map((r) => r.id),
      d,
    );
  }
  await sql`
    update branches set recoverable_until = ${d.recoverableUntil}::timestamptz
    where project_id = ${id} and recoverable_until > ${d.recoverableUntil}::timestamptz`.execute(tx);
}

/** Whether a project has a protected branch, and which. */
export async function findProtectedBranch(
  db: Db,
  projectId: ProjectId,
): Promise<{ id: BranchId; name: string } | undefined> {
  return db
    .selectFrom('branches')
    .select(['id', 'name'])
    .where('project_id', '=', projectId)
    .where('deleted_at', 'is', null)
    .where('is_protected', '=', true)
    .limit(1)
    .executeTakeFirst();
}

/** Live computes of any of the branches, oldest first, at most `limit`. */
export async function findLiveComputesOfBranches(
  db: Db,
  branchIds: readonly BranchId[],
  limit: number,
): Promise<ComputeRow[]> {
  const { rows } = await sql<ComputeRow>`
    select c.* from endpoints e join computes c on c.endpoint_id = e.id and c.state in ('starting', 'running', 'stopping')
    where e.branch_id = any(${branchIds}::text[]) order by c.created_at limit ${limit}::integer`.execute(db);
  return rows;
}

/** Puts what was done to several branches at once into the audit log, one entry for each. */
export async function auditBranches(
  db: Db,
  entry: Omit<AuditEntry, 'branchId' | 'projectId'> & {
    readonly projectId: ProjectId;
    readonly branchIds: readonly BranchId[];
  },
): Promise<void> {
  await sql`
    insert into audit_log (at, agent_id, task_id, action, project_id, branch_id, key_id, detail, owner_id)
    select ${entry.now}::timestamptz, ${entry.agentId}::text, ${entry.taskId ?? null}::text, ${entry.action}::text, ${entry.projectId}::text, id,
      ${entry.keyId ?? null}::bigint, ${entry.detail === undefined ? null : JSON.stringify(entry.detail)}::jsonb,
      coalesce((select agent_id from projects where id = ${entry.projectId}), ${entry.agentId})
    from unnest(${entry.branchIds}::text[]) as b(id)`.execute(db);
}
