import { sql, type Selectable } from 'kysely';
import type { BranchId, ProjectId } from '@coppice/vocabulary';
import type { Db } from './database';
import type { PageAfter } from './paging';
import type { OperationsTable } from './schema';

export type OperationRow = Selectable<OperationsTable>;

/** Records operations that are over, or keeps an open one up to date by its id. */
export async function recordOperations(db: Db, rows: readonly OperationRow[]): Promise<void> {
  if (rows.length === 0) return;
  await db
    .insertInto('operations')
    .values(
      rows.map((r) => ({
        ...r,
        detail: r.detail === null ? null : JSON.stringify(r.detail),
        claimed_until: r.claimed_until === null ? null : new Date(r.claimed_until),
        created_at: new Date(r.created_at),
        updated_at: new Date(r.updated_at),
      })),
    )
    .onConflict((c) =>
      c.column('id').doUpdateSet((e) => ({
        status: e.ref('excluded.status'),
        error: e.ref('excluded.error'),
        failures: e.ref('excluded.failures'),
        duration_ms: e.ref('excluded.duration_ms'),
        updated_at: e.ref('excluded.updated_at'),
      })),
    )
    .execute();
}

/** Newest first; with `branchId`, those of one branch. */
export async function listOperations(
  db: Db,
  projectId: ProjectId,
  limit: number,
  {
    branchId,
    after,
  }: { readonly branchId?: BranchId | undefined; readonly after?: PageAfter<number> | undefined } = {},
): Promise<OperationRow[]> {
  let query = db.selectFrom('operations').selectAll().where('project_id', '=', projectId);
  if (branchId !== undefined) query = query.where('branch_id', '=', branchId);
  if (after)
    query = query.where(
      sql<boolean>`(created_at, id) < (${new Date(after.key)}::timestamptz, ${after.id}::uuid)`,
    );
  return query.orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit).execute();
}

export async function findOperation(
  db: Db,
  projectId: ProjectId,
  id: string,
): Promise<OperationRow | undefined> {
  return db
    .selectFrom('operations')
    .selectAll()
    .where('id', '=', id)
    .where('project_id', '=', projectId)
    .executeTakeFirst();
}
