import type { Selectable } from 'kysely';
import { sql } from 'kysely';
import type { BranchId, EndpointId, ProjectId } from '@coppice/vocabulary';
import type { Db } from './database';
import { likePattern, type PageAfter } from './paging';
import type { BranchesTable } from './schema';

export type BranchRow = Selectable<BranchesTable>;

/** A branch of the project that is not deleted. */
export async function findBranch(db: Db, projectId: ProjectId, id: BranchId): Promise<BranchRow | undefined> {
  return db
    .selectFrom('branches')
    .selectAll()
    .where('id', '=', id)
    .where('project_id', '=', projectId)
    .where('deleted_at', 'is', null)
    .executeTakeFirst();
}

export interface ListBranches {
  readonly projectId: ProjectId;
  readonly search?: string;
  readonly sortBy: 'name' | 'created_at' | 'updated_at';
  readonly descending: boolean;
  readonly after?: PageAfter;
  readonly limit: number;
}

export async function listBranches(
  db: Db,
  { projectId, search, sortBy, descending, after, limit }: ListBranches,
): Promise<BranchRow[]> {
  const order = descending ? 'desc' : 'asc';
  let query = db
    .selectFrom('branches')
    .selectAll()
    .where('project_id', '=', projectId)
    .where('deleted_at', 'is', null);
  if (search)
    query = query.where(sql<boolean>`(name ilike ${likePattern(search)} or id ilike ${likePattern(search)})`);
  if (after) {
    const key = sortBy === 'name' ? sql`${after.key}::text` : sql`${new Date(after.key)}::timestamptz`;
    query = query.where(
      sql<boolean>`(${sql.ref(sortBy)}, id) ${sql.raw(descending ? '<' : '>')} (${key}, ${after.id})`,
    );
  }
  return query.orderBy(sortBy, order).orderBy('id', order).limit(limit).execute();
}

export type DeleteVerdict =
  | { readonly kind: 'deleted'; readonly branch: BranchRow }
  | { readonly kind: 'missing' }
  | { readonly kind: 'default' }
  | { readonly kind: 'protected' }
  | { readonly kind: 'has-children'; readonly children: readonly { id: BranchId; name: string }[] };

/**
 * Deletes a branch that has no children, in a transaction of the caller. The row lock excludes a fork that is being made
 * at the same time: `insertBranch` holds its parent's row in share mode. Live computes are left `stopping`, for the caller to end.
 */
export async function softDeleteBranch(
  tx: Db,
  projectId: ProjectId,
  id: BranchId,
  now: Date,
): Promise<DeleteVerdict> {
  const branch = await tx
    .selectFrom('branches')
    .selectAll()
    .where('id', '=', id)
    .where('project_id', '=', projectId)
    .where('deleted_at', 'is', null)
    .forUpdate()
    .executeTakeFirst();
  if (!branch) return { kind: 'missing' };
  if (branch.is_default) return { kind: 'default' };
  if (branch.is_protected) return { kind: 'protected' };
  const children = await tx
    .selectFrom('branches')
    .select(['id', 'name'])
    .where('parent_id', '=', id)
    .where('deleted_at', 'is', null)
    .limit(5)
    .execute();
  if (children.length > 0) return { kind: 'has-children', children };
  await sql`
    with closed as (update endpoints set deleted_at = ${now}, updated_at = ${now} where branch_id = ${id} and deleted_at is null returning id),
    ending as (update computes set state = 'stopping', idle_due_at = null where endpoint_id in (select id from closed) and state in ('starting', 'running')),
    revoked as (update credentials set revoked_at = ${now} where branch_id = ${id} and revoked_at is null)
    update branches set deleted_at = ${now}, updated_at = ${now} where id = ${id}`.execute(tx);
  return { kind: 'deleted', branch: { ...branch, deleted_at: now.getTime(), updated_at: now.getTime() } };
}

/** The branch that an endpoint serves, with what a login needs. */
export async function findEndpointBranch(
  db: Db,
  endpointId: EndpointId,
): Promise<{ branchId: BranchId; projectId: ProjectId; disabled: boolean } | undefined> {
  const row = await db
    .selectFrom('endpoints')
    .select(['branch_id', 'project_id', 'disabled'])
    .where('id', '=', endpointId)
    .where('deleted_at', 'is', null)
    .executeTakeFirst();
  return row && { branchId: row.branch_id, projectId: row.project_id, disabled: row.disabled };
}
