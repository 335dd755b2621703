/**
 * Passing computes: they run a branch as it was at some position, for as long as one question takes or sessions use it, on a
 * timeline of their own.
 *
 *   endpoint   deleted from its beginning, so that nobody sees, wakes or logs in to it; goes with its branch
 *   timeline   due to be purged from its beginning, but not before `MAX_LIFE`: it goes by the usual way whoever dies
 *   compute    falls idle soon; counted and accounted for like any other
 */
import { sql } from 'kysely';
import {
  type BranchId,
  type ComputeId,
  type EndpointId,
  formatLsn,
  type Lsn,
  type NodeId,
  type ProjectId,
  type TimelineId,
} from '@coppice/vocabulary';
import type { ComputeRow, StartedCompute } from './computes';
import type { Db } from './database';
import { guardQuota, type QuotaGuard } from './quota-guard';

const NAME = 'passing';
/** Longer than any question may take. While a compute runs on it, it stays beyond that. */
const MAX_LIFE = sql`interval '5 minutes'`;

/** An endpoint of the branch for a passing compute, that has none now; `proposed` when there is none yet. */
export async function findPassingEndpoint(
  db: Db,
  of: { readonly projectId: ProjectId; readonly branchId: BranchId },
  proposed: EndpointId,
  now: Date,
): Promise<EndpointId> {
  const { rows } = await sql<{ id: EndpointId }>`
    with free as (
      select id from endpoints e where branch_id = ${of.branchId} and deleted_at = created_at and name = ${NAME}
        and not exists (select from computes c where c.endpoint_id = e.id and c.state in ('starting', 'running', 'stopping')) limit 1
    ), made as (
      insert into endpoints (id, project_id, branch_id, type, suspend_timeout_seconds, min_compute_units, max_compute_units, name, created_at, updated_at, deleted_at)
      select ${proposed}, ${of.projectId}, ${of.branchId}, 'read_only', 0, 0.25, 0.25, ${NAME}, ${now}::timestamptz, ${now}::timestamptz, ${now}::timestamptz
      where not exists (select from free) returning id
    )
    select id from free union all select id from made`.execute(db);
  return rows[0]!.id;
}

/** The live compute that sessions find by a position. */
export async function findAtPosition(db: Db, position: string): Promise<ComputeRow | undefined> {
  return db
    .selectFrom('computes')
    .selectAll()
    .where('position', '=', position)
    .where('state', 'in', ['starting', 'running', 'stopping'])
    .executeTakeFirst();
}

export interface NewPassingCompute {
  readonly id: ComputeId;
  readonly endpointId: EndpointId;
  readonly projectId: ProjectId;
  readonly branchId: BranchId;
  readonly timelineId: TimelineId;
  readonly ancestor: { readonly id: TimelineId; readonly lsn: Lsn };
  readonly node: { readonly id: NodeId; readonly incarnation: string };
  readonly agentId: string;
  readonly computeUnits: number;
  readonly idleLimitSeconds: number;
  /** What it is expected to take. */
  readonly memoryBytes: number;
  /** What sessions find it by, of whom at most one is live; `undefined`: it is nobody else's. */
  readonly position: string | undefined;
  readonly quota: QuotaGuard;
  readonly now: Date;
}

export interface PassingCompute {
  readonly row: ComputeRow;
  readonly systemIdentifier: bigint;
}

/**
 * Makes the timeline and claims the compute. `undefined` when the branch is deleted, its history does not hold that position
 * any more, or another took the endpoint. Throws `StaleQuota` when it was not reserved as things stand.
 */
export async function claimPassingCompute(tx: Db, c: NewPassingCompute): Promise<PassingCompute | undefined> {
  await guardQuota(tx, c.quota);
  const at = formatLsn(c.ancestor.lsn);
  const { rows } = await sql<ComputeRow & { system_identifier: string }>`
    with branch as (
      select id from branches where id = ${c.branchId} and deleted_at is null for share
    ), ancestor as (
      select id, depth, pg_version, system_identifier from timelines
      where id = ${c.ancestor.id} and (retained_from is null or retained_from <= ${at}::pg_lsn) and exists (select from branch) for share
    ), endpoint as (
      update endpoints set fencing_token = fencing_token + 1 where id = ${c.endpointId} and exists (select from ancestor)
        and not exists (select from computes where endpoint_id = ${c.endpointId} and state in ('starting', 'running', 'stopping'))
      returning id, fencing_token
    ), timeline as (
      insert into timelines (id, project_id, ancestor_id, ancestor_lsn, depth, pg_version, system_identifier, head_lsn, created_at, purge_due_at)
      select ${c.timelineId}, ${c.projectId}, a.id, ${at}::pg_lsn, a.depth + 1, a.pg_version, a.system_identifier, ${at}::pg_lsn, ${c.now}::timestamptz,
        ${c.now}::timestamptz + ${MAX_LIFE}
      from ancestor a where exists (select from endpoint) returning id
    ), compute as (
      insert into computes (id, endpoint_id, branch_id, project_id, timeline_id, node_id, incarnation, fencing_token, state, suspend_timeout_seconds,
        agent_id, compute_units, memory_bytes, position, created_at)
      select ${c.id}, endpoint.id, ${c.branchId}, ${c.projectId}, timeline.id, ${c.node.id}, ${c.node.incarnation}, endpoint.fencing_token, 'starting',
        ${c.idleLimitSeconds}::integer, ${c.agentId}, ${c.computeUnits}::double precision, ${c.memoryBytes}::bigint, ${c.position ?? null}, ${c.now}::timestamptz
      from endpoint, timeline returning *
    )
    select compute.*, ancestor.system_identifier from compute, ancestor`.execute(tx);
  const [row] = rows;
  return row && { row, systemIdentifier: BigInt(row.system_identifier) };
}

/** Records that a passing compute accepts connections; false when it is not `starting` any more. Its branch is as it was. */
export async function markPassingRunning(db: Db, c: StartedCompute): Promise<boolean> {
  const result = await sql`
    update computes set state = 'running', socket_directory = ${c.socketDirectory}, port = ${c.port}, start_lsn = ${formatLsn(c.startLsn)}::pg_lsn,
      commit_lsn = ${formatLsn(c.commitLsn)}::pg_lsn, running_at = ${c.now}::timestamptz, last_active_at = ${c.now}::timestamptz,
      idle_due_at = ${c.idleDueAt ?? null}::timestamptz
    where id = ${c.id} and state = 'starting'`.execute(db);
  return result.numAffectedRows === 1n;
}
