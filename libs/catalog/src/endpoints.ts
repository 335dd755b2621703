import { sql, type Selectable } from 'kysely';
import type { BranchId, EndpointId, ProjectId } from '@coppice/vocabulary';
import type { ComputeRow } from './computes';
import type { Db } from './database';
import type { NewEndpointRow } from './new-branch';
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

/** What of an endpoint a request may change. */
export interface EndpointSettings {
  readonly branchId: BranchId;
  readonly name: string;
  readonly disabled: boolean;
  readonly suspendTimeoutSeconds: number;
  readonly minComputeUnits: number;
  readonly maxComputeUnits: number;
}

/** The unique index that a second read-write endpoint of a branch violates. */
export const ONE_READ_WRITE = 'endpoints_read_write';

export async function insertEndpoint(
  tx: Db,
  projectId: ProjectId,
  e: NewEndpointRow & EndpointSettings,
  now: Date,
): Promise<void> {
  await tx
    .insertInto('endpoints')
    .values({
      id: e.id,
      project_id: projectId,
      type: e.type,
      ...columnsOf(e),
      fencing_token: 0,
      created_at: now,
      updated_at: now,
    })
    .execute();
}

/**
 * An endpoint held until the transaction ends. Its live computes are held before it, as by those that record their end.
 */
export async function lockEndpoint(
  tx: Db,
  projectId: ProjectId,
  id: EndpointId,
): Promise<Selectable<EndpointsTable> | undefined> {
  await sql`select from computes where endpoint_id = ${id} and state in ('starting', 'running', 'stopping') for update`.execute(
    tx,
  );
  return tx
    .selectFrom('endpoints')
    .selectAll()
    .where('id', '=', id)
    .where('project_id', '=', projectId)
    .where('deleted_at', 'is', null)
    .forNoKeyUpdate()
    .executeTakeFirst();
}

/** Changes an endpoint that the transaction holds; the idle limit of its live compute, as given, with it. */
export async function updateEndpoint(
  tx: Db,
  id: EndpointId,
  to: EndpointSettings,
  { idleLimitSeconds, now }: { readonly idleLimitSeconds: number; readonly now: Date },
): Promise<void> {
  await tx
    .updateTable('endpoints')
    .set({ ...columnsOf(to), updated_at: now })
    .where('id', '=', id)
    .execute();
  await sql`
    update computes set suspend_timeout_seconds = ${idleLimitSeconds}::integer,
      idle_due_at = case when ${idleLimitSeconds}::integer < 0 or last_active_at is null then null
        else last_active_at + ${idleLimitSeconds}::integer * interval '1 second' end
    where endpoint_id = ${id} and state in ('starting', 'running') and suspend_timeout_seconds <> ${idleLimitSeconds}::integer`.execute(
    tx,
  );
}

/** Deletes an endpoint that the transaction holds. Its branch stays; it is purged with that. */
export async function markEndpointDeleted(tx: Db, id: EndpointId, now: Date): Promise<void> {
  await tx.updateTable('endpoints').set({ deleted_at: now, updated_at: now }).where('id', '=', id).execute();
}

/** Takes the live computes of an endpoint that the transaction holds out of service; they are left `stopping`, to be ended. */
export async function beginStopOfEndpoint(tx: Db, id: EndpointId): Promise<ComputeRow[]> {
  return tx
    .updateTable('computes')
    .set({ state: 'stopping', idle_due_at: null })
    .where('endpoint_id', '=', id)
    .where('state', 'in', ['starting', 'running', 'stopping'])
    .returningAll()
    .execute();
}

function columnsOf(e: EndpointSettings) {
  return {
    branch_id: e.branchId,
    name: e.name,
    disabled: e.disabled,
    suspend_timeout_seconds: e.suspendTimeoutSeconds,
    min_compute_units: e.minComputeUnits,
    max_compute_units: e.maxComputeUnits,
  };
}
