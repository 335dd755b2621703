/**
 * Computes and their claim. The row is the lease: at most one row of an endpoint is live (`starting`, `running` or
 * `stopping`), each carries a larger fencing token than all before, and whoever finds one under way joins it, because starting
 * and stopping are idempotent per compute id. So a control-plane that dies in the middle holds nobody up.
 */
import { sql, type Selectable } from 'kysely';
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
import { opens } from './logins';
import type { Db } from './database';
import { guardedAgent, guardQuota, type QuotaGuard } from './quota-guard';
import { violatedIndex } from './database';
import type { ComputesTable } from './schema';

export type ComputeRow = Selectable<ComputesTable>;
const LIVE = sql`('starting', 'running', 'stopping')`;

/** What starting an endpoint's compute takes. */
export interface WakeTarget {
  readonly endpointId: EndpointId;
  readonly projectId: ProjectId;
  /** Who the project belongs to. */
  readonly agentId: string;
  readonly branchId: BranchId;
  readonly timelineId: TimelineId;
  readonly timelineStartLsn: Lsn;
  /** Where its WAL ends, while that is known. */
  readonly headLsn: Lsn | undefined;
  readonly systemIdentifier: bigint;
  /** Of the endpoint; 0 leaves it to the project's. */
  readonly suspendTimeoutSeconds: number;
  readonly projectSuspendTimeoutSeconds: number;
  readonly minComputeUnits: number;
  readonly maxComputeUnits: number;
  readonly disabled: boolean;
  /** Statements that still have to run on this branch. */
  readonly setupSql: readonly string[];
  /** Roles that the branch's state may lack. */
  readonly pendingRoles: readonly string[];
  readonly live: ComputeRow | undefined;
}

/** An endpoint that is not deleted, with all that a start needs and its live compute. */
export async function findWakeTarget(db: Db, endpointId: EndpointId): Promise<WakeTarget | undefined> {
  const { rows } = await sql<{
    project_id: ProjectId;
    agent_id: string;
    branch_id: BranchId;
    timeline_id: TimelineId;
    ancestor_lsn: Lsn;
    head_lsn: Lsn | null;
    system_identifier: string;
    suspend_timeout_seconds: number;
    project_timeout: number;
    min_compute_units: number;
    max_compute_units: number;
    disabled: boolean;
    setup_sql: string[];
    pending_roles: string[];
    live_id: ComputeId | null;
  }>`
    select e.project_id, p.agent_id, e.branch_id, b.timeline_id, t.ancestor_lsn, t.head_lsn, t.system_identifier, e.suspend_timeout_seconds, p.suspend_timeout_seconds as project_timeout,
      e.min_compute_units, e.max_compute_units, e.disabled,
      case when b.setup_pending then p.setup_sql else '{}' end as setup_sql,
      case when b.logins_pending then array(
        select name from roles r where r.branch_id = b.id and ${opens(sql`b.id`, sql`r.name`)} order by name) else '{}' end as pending_roles, c.id as live_id
    from endpoints e join branches b on b.id = e.branch_id join timelines t on t.id = b.timeline_id join projects p on p.id = e.project_id
      left join computes c on c.endpoint_id = e.id and c.state in ${LIVE}
    where e.id = ${endpointId} and e.deleted_at is null and b.deleted_at is null`.execute(db);
  const r = rows[0];
  if (!r) return undefined;
  return {
    endpointId,
    projectId: r.project_id,
    agentId: r.agent_id,
    branchId: r.branch_id,
    timelineId: r.timeline_id,
    timelineStartLsn: r.ancestor_lsn,
    headLsn: r.head_lsn ?? undefined,
    systemIdentifier: BigInt(r.system_identifier),
    suspendTimeoutSeconds: r.suspend_timeout_seconds,
    projectSuspendTimeoutSeconds: r.project_timeout,
    minComputeUnits: r.min_compute_units,
    maxComputeUnits: r.max_compute_units,
    disabled: r.disabled,
    setupSql: r.setup_sql,
    pendingRoles: r.pending_roles,
    live: r.live_id === null ? undefined : await findCompute(db, r.live_id),
  };
}

export async function findCompute(db: Db, id: ComputeId): Promise<ComputeRow | undefined> {
  return db.selectFrom('computes').selectAll().where('id', '=', id).executeTakeFirst();
}

/**
 * Claims the endpoint for a new compute on `node`; `undefined` when it has a live one (look again and join it), or its branch
 * was put on another timeline, or the endpoint on another branch or
 * out of use, since `target` was read. The branch's row is held in share mode, which a restore waits for.
 * Throws `StaleQuota` when it was not reserved as things stand.
 */
export async function claimCompute(
  db: Db,
  target: WakeTarget,
  claim: {
    readonly id: ComputeId;
    readonly node: { readonly id: NodeId; readonly incarnation: string };
    readonly idleLimitSeconds: number;
    /** What it is expected to take. */
    readonly memoryBytes: number;
    /** What it was reserved under; absent where nothing is counted. */
    readonly quota: QuotaGuard | undefined;
    readonly now: Date;
  },
): Promise<ComputeRow | undefined> {
  try {
    const { rows } = await sql<ComputeRow>`
      with agent as (${claim.quota === undefined ? sql`select true as epoch_fits, true as limits_fit` : guardedAgent(claim.quota)}
      ), branch as (
        select id from branches where id = ${target.branchId} and timeline_id = ${target.timelineId} and deleted_at is null for share
      ), endpoint as (
        update endpoints set fencing_token = fencing_token + 1
        where id = ${target.endpointId} and deleted_at is null and not disabled and branch_id = ${target.branchId}
          and exists (select from branch) and not exists (select from computes where endpoint_id = ${target.endpointId} and state in ${LIVE})
          and exists (select from agent where epoch_fits and limits_fit)
        returning id, fencing_token
      )
      insert into computes (id, endpoint_id, branch_id, project_id, timeline_id, node_id, incarnation, fencing_token, state, suspend_timeout_seconds, agent_id, compute_units, memory_bytes, created_at)
      select ${claim.id}, id, ${target.branchId}, ${target.projectId}, ${target.timelineId}, ${claim.node.id}, ${claim.node.incarnation}, fencing_token, 'starting',
        ${claim.idleLimitSeconds}::integer, ${target.agentId}, ${target.minComputeUnits}::double precision, ${claim.memoryBytes}::bigint, ${claim.now}::timestamptz
      from endpoint returning *`.execute(db);
    if (!rows[0] && claim.quota) await guardQuota(db, claim.quota);
    return rows[0];
  } catch (error) {
    if (violatedIndex(error) === 'computes_live') return undefined;
    throw error;
  }
}

export interface StartedCompute {
  readonly id: ComputeId;
  readonly socketDirectory: string;
  readonly port: number;
  readonly startLsn: Lsn;
  readonly commitLsn: Lsn;
  readonly idleDueAt: Date | undefined;
  readonly now: Date;
}

/**
 * Records that a claimed compute accepts connections; nothing when it is not `starting` any more. The branch's row is taken
 * before the compute's, as by a restore. Any other compute of the timeline, of an endpoint that was deleted or moved, has lost
 * its term to this one: what it says later of where the timeline ends is out of date.
 */
export async function markRunning(db: Db, c: StartedCompute): Promise<ComputeRow | undefined> {
  const { rows } = await sql<ComputeRow>`
    with branch as (
      select id, setup_pending, logins_pending from branches where id = (select branch_id from computes where id = ${c.id}) for no key update
    ), compute as (
      update computes set state = 'running', socket_directory = ${c.socketDirectory}, port = ${c.port}, start_lsn = ${formatLsn(c.startLsn)}::pg_lsn,
        commit_lsn = ${formatLsn(c.commitLsn)}::pg_lsn, running_at = ${c.now}::timestamptz, last_active_at = ${c.now}::timestamptz,
        idle_due_at = ${c.idleDueAt ?? null}::timestamptz
      where id = ${c.id} and state = 'starting' and exists (select from branch) returning *
    ), endpoint as (
      update endpoints e set started_at = ${c.now}::timestamptz, last_active_at = ${c.now}::timestamptz from compute where e.id = compute.endpoint_id
    ), setup as (
      update branches b set setup_pending = false, logins_pending = false from compute
      where b.id = compute.branch_id and exists (select from branch where setup_pending or logins_pending)
    ), fenced as (
      update computes o set state = 'failed', failure = 'another compute has taken over its timeline', ended_at = ${c.now}::timestamptz, idle_due_at = null
      from compute where o.timeline_id = compute.timeline_id and o.id <> ${c.id} and o.state in ${LIVE} returning o.id
    ), head as (
      update timelines t set head_lsn = null, setup_done_lsn = case when exists (select from branch where setup_pending) then compute.commit_lsn else t.setup_done_lsn end
      from compute, (select count(*) from fenced) computes_first where t.id = compute.timeline_id
    )
    select * from compute`.execute(db);
  return rows[0];
}

/**
 * Says that a client is about to use a running compute, so that it does not count as idle; false when it is not running any
 * more. A suspend for idleness looks at the same row: of the two one comes first, and the other sees it.
 */
export async function keepAwake(db: Db, id: ComputeId, now: Date): Promise<boolean> {
  const result = await sql`
    update computes set last_active_at = greatest(last_active_at, ${now}::timestamptz),
      idle_due_at = case when suspend_timeout_seconds < 0 then null else greatest(last_active_at, ${now}::timestamptz) + suspend_timeout_seconds * interval '1 second' end
    where id = ${id} and state = 'running'`.execute(db);
  return result.numAffectedRows === 1n;
}

/** When a compute may be stopped for not being used: it is due by `idleAt`, or was last used by `unusedSince`. */
export type OnlyIfIdle = { readonly idleAt: Date } | { readonly unusedSince: Date };

/** Takes a running compute out of service. False when it is not running, or is used meanwhile. */
export async function beginStop(db: Db, id: ComputeId, onlyIf?: OnlyIfIdle): Promise<boolean> {
  let query = db
    .updateTable('computes')
    .set({ state: 'stopping' })
    .where('id', '=', id)
    .where('state', '=', 'running');
  if (onlyIf)
    query = query.where(
      'idleAt' in onlyIf
        ? sql<boolean>`idle_due_at <= ${onlyIf.idleAt}`
        : sql<boolean>`last_active_at <= ${onlyIf.unusedSince}`,
    );
  return ((await query.executeTakeFirst()).numUpdatedRows ?? 0n) === 1n;
}

/**
 * Records an end whose final position is known: that is the head of the timeline until the next start. When the branch was put
 * on another timeline, the checkpoint of the state before moves up to it: sessions went on until now.
 */
export async function markStopped(db: Db, id: ComputeId, finalLsn: Lsn, now: Date): Promise<boolean> {
  const { rows } = await sql`
    with compute as (
      update computes set state = 'stopped', commit_lsn = ${formatLsn(finalLsn)}::pg_lsn, ended_at = ${now}::timestamptz, idle_due_at = null
      where id = ${id} and state in ('running', 'stopping') returning endpoint_id, timeline_id, commit_lsn, last_active_at
    ), endpoint as (
      update endpoints e set suspended_at = ${now}::timestamptz, last_active_at = greatest(e.last_active_at, compute.last_active_at)
      from compute where e.id = compute.endpoint_id
    ), left_behind as (
      update checkpoints k set lsn = compute.commit_lsn from compute
      where k.timeline_id = compute.timeline_id and k.kind = 'automatic' and k.lsn < compute.commit_lsn returning k.id
    ), head as (
      update timelines t set head_lsn = compute.commit_lsn from compute, (select count(*) from left_behind) checkpoints_first
      where t.id = compute.timeline_id
    )
    select 1 from compute`.execute(db);
  return rows.length === 1;
}

/**
 * Records that a live compute is gone without a clean end; where its WAL ends is known to the safekeepers only. With `onlyIf`: unless
 * its row has moved on from that state.
 */
export async function markGone(
  db: Db,
  id: ComputeId,
  gone: {
    readonly state: 'failed' | 'stopped';
    readonly why: string;
    readonly now: Date;
    readonly onlyIf?: 'running';
  },
): Promise<boolean> {
  const result = await db
    .updateTable('computes')
    .set({ state: gone.state, failure: gone.why.slice(0, 2000), ended_at: gone.now, idle_due_at: null })
    .where('id', '=', id)
    .where('state', 'in', gone.onlyIf ? [gone.onlyIf] : ['starting', 'running', 'stopping'])
    .executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

/** The compute of an endpoint that runs, with where its agent is. */
export async function findRunningCompute(
  db: Db,
  endpointId: EndpointId,
): Promise<{ readonly id: ComputeId; readonly nodeAddress: string } | undefined> {
  const row = await db
    .selectFrom('computes as c')
    .innerJoin('nodes as n', 'n.id', 'c.node_id')
    .select(['c.id', 'n.address'])
    .where('c.endpoint_id', '=', endpointId)
    .where('c.state', '=', 'running')
    .executeTakeFirst();
  return row && { id: row.id, nodeAddress: row.address };
}

/** Live computes of a branch or a project. */
export async function findLiveComputes(
  db: Db,
  where: { readonly branchId: BranchId } | { readonly projectId: ProjectId },
): Promise<ComputeRow[]> {
  const column = 'branchId' in where ? 'branch_id' : 'project_id';
  const value = 'branchId' in where ? where.branchId : where.projectId;
  return db
    .selectFrom('computes')
    .selectAll()
    .where('state', 'in', ['starting', 'running', 'stopping'])
    .where(
      'endpoint_id',
      'in',
      sql<EndpointId>`(select id from endpoints where ${sql.ref(column)} = ${value})`,
    )
    .execute();
}

/** All live computes, oldest first, at most `limit`. */
export async function listLiveComputes(db: Db, limit: number): Promise<ComputeRow[]> {
  return db
    .selectFrom('computes')
    .selectAll()
    .where('state', 'in', ['starting', 'running', 'stopping'])
    .orderBy('created_at')
    .limit(limit)
    .execute();
}

/** Computes that are starting or stopping, oldest first. */
export async function findUnfinishedComputes(db: Db, limit: number): Promise<ComputeRow[]> {
  return db
    .selectFrom('computes')
    .selectAll()
    .where('state', 'in', ['starting', 'stopping'])
    .orderBy('created_at')
    .limit(limit)
    .execute();
}

/** Running computes whose idle limit has passed, longest overdue first. Reads only what is due. */
export async function findIdleComputes(db: Db, now: Date, limit: number): Promise<ComputeRow[]> {
  return db
    .selectFrom('computes')
    .selectAll()
    .where('state', '=', 'running')
    .where(sql<boolean>`idle_due_at is not null and idle_due_at <= ${now}`)
    .orderBy('idle_due_at')
    .limit(limit)
    .execute();
}

/** Running computes of these nodes that were last used by `unusedSince`, longest unused first. */
export async function findLeastUsedComputes(
  db: Db,
  nodes: readonly NodeId[],
  unusedSince: Date,
  limit: number,
): Promise<ComputeRow[]> {
  return db
    .selectFrom('computes')
    .selectAll()
    .where('state', '=', 'running')
    .where('node_id', 'in', [...nodes])
    .where(sql<boolean>`last_active_at <= ${unusedSince}`)
    .orderBy('last_active_at')
    .limit(limit)
    .execute();
}

/** The newest compute of an endpoint, live or not. */
export async function findLatestCompute(db: Db, endpointId: EndpointId): Promise<ComputeRow | undefined> {
  return db
    .selectFrom('computes')
    .selectAll()
    .where('endpoint_id', '=', endpointId)
    .orderBy('created_at', 'desc')
    .limit(1)
    .executeTakeFirst();
}

export async function countRunningComputes(db: Db): Promise<number> {
  const { rows } = await sql<{
    count: number;
  }>`select count(*) as count from computes where state in ${LIVE} and state = 'running'`.execute(db);
  return rows[0]?.count ?? 0;
}
