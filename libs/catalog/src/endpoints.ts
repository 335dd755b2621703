import { sql, type Selectable } from 'kysely';
import type { BranchId, EndpointId, ProjectId } from '@coppice/vocabulary';
import type { Db } from './database';
import type { ComputeRowState, EndpointsTable } from './schema';

/** An endpoint with the state of its live compute, if it has one. */
export type EndpointRow = Selectable<EndpointsTable> & {
  readonly compute_state: ComputeRowState | null;
  readonly compute_last_active_at: number | null;
};

function endpoints(db: Db) {
  return db
    .selectFrom('endpoints as e')
    .leftJoin('computes as c', (j) =>
      j.onRef('c.endpoint_id', '=', 'e.id').on(sql<boolean>`c.state in ('starting', 'running', 'stopping')`),
    )
    .selectAll('e')
    .select(['c.state as compute_state', 'c.last_active_at as compute_last_active_at'])
    .where('e.deleted_at', 'is', null);
}

/** The endpoints of a project, or of one of its branches, oldest first. */
export async function listEndpoints(
  db: Db,
  projectId: ProjectId,
  branchId?: BranchId,
): Promise<EndpointRow[]> {
  let query = endpoints(db).where('e.project_id', '=', projectId);
  if (branchId !== undefined) query = query.where('e.branch_id', '=', branchId);
  return query.orderBy('e.created_at').orderBy('e.id').execute();
}

export async function findEndpoint(
  db: Db,
  projectId: ProjectId,
  id: EndpointId,
): Promise<EndpointRow | undefined> {
  return endpoints(db).where('e.id', '=', id).where('e.project_id', '=', projectId).executeTakeFirst();
}
