import type { Selectable } from 'kysely';
import { sql } from 'kysely';
import type { BranchId, EndpointId, ProjectId } from '@coppice/vocabulary';
import type { Db } from './database';
import { likePattern, type PageAfter } from './paging';
import type { NewTtl } from './new-branch';
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
  /** Also those that were deleted and can be recovered at this time. */
  readonly recoverableAt?: Date;
  readonly search?: string;
  readonly sortBy: 'name' | 'created_at' | 'updated_at';
  readonly descending: boolean;
  readonly after?: PageAfter;
  readonly limit: number;
}

export async function listBranches(
  db: Db,
  { projectId, recoverableAt, search, sortBy, descending, after, limit }: ListBranches,
): Promise<BranchRow[]> {
  const order = descending ? 'desc' : 'asc';
  let query = db.selectFrom('branches').selectAll().where('project_id', '=', projectId);
  query =
    recoverableAt === undefined
      ? query.where('deleted_at', 'is', null)
      : query.where(sql<boolean>`(deleted_at is null or recoverable_until > ${recoverableAt})`);
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

/** How many branches of a project are not deleted and match the search; with `only`, of that one. */
export async function countBranches(
  db: Db,
  projectId: ProjectId,
  { search, only }: { readonly search: string; readonly only: BranchId | undefined },
): Promise<number> {
  let query = db
    .selectFrom('branches')
    .select(sql<number>`count(*)`.as('count'))
    .where('project_id', '=', projectId)
    .where('deleted_at', 'is', null);
  if (only !== undefined) query = query.where('id', '=', only);
  if (search)
    query = query.where(sql<boolean>`(name ilike ${likePattern(search)} or id ilike ${likePattern(search)})`);
  return (await query.executeTakeFirstOrThrow()).count;
}

/** What of a branch can be changed in place. */
export interface BranchChanges {
  readonly name: string;
  readonly isProtected: boolean;
  readonly ttl: NewTtl | undefined;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Changes a branch that is not deleted. Throws on `branches_name` when the name is taken. */
export async function updateBranch(
  db: Db,
  id: BranchId,
  c: BranchChanges,
  now: Date,
): Promise<BranchRow | undefined> {
  return db
    .updateTable('branches')
    .set({
      name: c.name,
      is_protected: c.isProtected,
      ttl_kind: c.ttl?.kind ?? null,
      ttl_seconds: c.ttl?.seconds ?? null,
      ttl_subtree: c.ttl?.subtree ?? false,
      expires_at: c.ttl?.expiresAt ?? null,
      annotations: JSON.stringify(c.annotations),
      updated_at: now,
    })
    .where('id', '=', id)
    .where('deleted_at', 'is', null)
    .returningAll()
    .executeTakeFirst();
}

/** Starts the time to live of a branch anew; `undefined` when it is deleted or has none. */
export async function renewBranch(
  db: Db,
  projectId: ProjectId,
  id: BranchId,
  now: Date,
): Promise<BranchRow | undefined> {
  const { rows } = await sql<BranchRow>`
    update branches set expires_at = ${now}::timestamptz + ttl_seconds * interval '1 second', updated_at = ${now}::timestamptz
    where id = ${id} and project_id = ${projectId} and deleted_at is null and ttl_kind is not null returning *`.execute(
    db,
  );
  return rows[0];
}

/** Moves the time at which a branch is due, unless it was changed meanwhile. */
export async function postponeExpiry(db: Db, branch: BranchRow, expiresAt: Date): Promise<boolean> {
  const result = await db
    .updateTable('branches')
    .set({ expires_at: expiresAt })
    .where('id', '=', branch.id)
    .where('deleted_at', 'is', null)
    .where(sql<boolean>`expires_at = ${new Date(branch.expires_at ?? 0)}`)
    .executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

/**
 * When any of the branches was last used, Unix milliseconds: made, put in place, reached by a client, or with a compute that is
 * starting. Their endpoints are held until the transaction ends, so that no compute is claimed meanwhile.
 */
export async function lockLastUse(tx: Db, ids: readonly BranchId[]): Promise<number> {
  const { rows: endpoints } = await sql<{ id: EndpointId; used_at: number }>`
    select id, coalesce(last_active_at, created_at) as used_at from endpoints
    where branch_id = any(${ids}::text[]) and deleted_at is null order by id for update`.execute(tx);
  const { rows } = await sql<{ used_at: number | null }>`
    select greatest(
      (select max(greatest(created_at, last_reset_at)) from branches where id = any(${ids}::text[])),
      (select max(greatest(created_at, last_active_at)) from computes
        where endpoint_id = any(${endpoints.map((e) => e.id)}::text[]) and state in ('starting', 'running', 'stopping'))) as used_at`.execute(
    tx,
  );
  return Math.max(rows[0]?.used_at ?? 0, ...endpoints.map((e) => e.used_at));
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
