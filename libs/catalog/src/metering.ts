/**
 * What branches use, by the hour. Each part of a compute's run is accounted for once: one statement moves `metered_until` and
 * `metered_lsn` of its row on and adds what lies between, so whoever dies has either done both or neither. What is metered
 * late is put into the hour in which it is metered.
 */
import { type RawBuilder, sql } from 'kysely';
import type { BranchId, ComputeId, EndpointId, TimelineId } from '@coppice/vocabulary';
import type { Db } from './database';

/**
 * Accounts for computes that run and were not looked at since `before`, and for ended ones up to their end, at most `limit`.
 * Answers with how many.
 */
export async function meterComputes(
  db: Db,
  { now, before, limit }: { readonly now: Date; readonly before: Date; readonly limit: number },
): Promise<number> {
  return meter(db, now, {
    live: sql`coalesce(metered_until, running_at) < ${before}::timestamptz limit ${limit}::integer`,
    ended: sql`true order by ended_at limit ${limit}::integer`,
  });
}

/** Accounts for the ended computes of these branches' endpoints, which are about to be forgotten. */
export async function meterBeforePurge(tx: Db, branchIds: readonly BranchId[], now: Date): Promise<number> {
  return meter(tx, now, {
    live: sql`false`,
    ended: sql`endpoint_id in (select id from endpoints where branch_id = any(${[...branchIds]}::text[]))`,
  });
}

/** Which of the computes that run, and of those that ended, are accounted for. */
interface Metered {
  readonly live: RawBuilder<unknown>;
  readonly ended: RawBuilder<unknown>;
}

async function meter(db: Db, now: Date, { live, ended }: Metered): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    with live as (
      select * from computes where state in ('running', 'stopping') and running_at is not null and ${live} for update skip locked
    ), ended as (
      select * from computes where running_at is not null and ended_at is not null and (metered_until is null or metered_until < ended_at) and ${ended}
      for update skip locked
    ), run as (
      -- From the locked rows, not the tables: those may be newer than the statement's snapshot.
      select c.id, c.branch_id, c.project_id, coalesce(c.agent_id, p.agent_id) as agent_id, b.task_id,
        -- What its sizes came to when it last reported, and its last size since then.
        c.unit_seconds + c.compute_units * greatest(0, extract(epoch from coalesce(c.ended_at, ${now}::timestamptz) - coalesce(c.unit_seconds_at, c.running_at)))
          as total_units, c.metered_unit_seconds, coalesce(c.ended_at, ${now}::timestamptz) as until, coalesce(c.metered_until, c.running_at) as since,
        greatest(c.commit_lsn, coalesce(c.metered_lsn, c.start_lsn)) as to_lsn, coalesce(c.metered_lsn, c.start_lsn) as from_lsn
      from (select * from live union all select * from ended) c join projects p on p.id = c.project_id left join branches b on b.id = c.branch_id
    ), moved as (
      update computes c set metered_until = greatest(run.until, run.since), metered_lsn = run.to_lsn,
        metered_unit_seconds = greatest(run.total_units, run.metered_unit_seconds) from run where c.id = run.id returning c.id
    ), used as (
      select branch_id, min(project_id) as project_id, min(agent_id) as agent_id, min(task_id) as task_id,
        sum(greatest(0, total_units - run.metered_unit_seconds)) as unit_seconds,
        sum(greatest(0, extract(epoch from until - since))) as seconds,
        sum(coalesce(to_lsn - from_lsn, 0)) as written
      from run join moved on moved.id = run.id group by branch_id
    ), hours as (
      insert into usage_hours as h (branch_id, hour, project_id, agent_id, task_id, compute_unit_seconds, active_seconds, written_bytes)
      select branch_id, date_trunc('hour', ${now}::timestamptz, 'UTC'), project_id, agent_id, task_id, unit_seconds, seconds, written from used
      on conflict (branch_id, hour) do update set compute_unit_seconds = h.compute_unit_seconds + excluded.compute_unit_seconds,
        active_seconds = h.active_seconds + excluded.active_seconds, written_bytes = h.written_bytes + excluded.written_bytes
    ), months as (
      insert into agent_months as m (agent_id, month, compute_unit_seconds)
      select agent_id, date_trunc('month', ${now}::timestamptz, 'UTC'), sum(unit_seconds) from used group by agent_id
      on conflict (agent_id, month) do update set compute_unit_seconds = m.compute_unit_seconds + excluded.compute_unit_seconds
    )
    select count(*) as count from moved`.execute(db);
  return rows[0]?.count ?? 0;
}

/** Adds bytes that went to and from clients of endpoints. Unknown endpoints are passed over. */
export async function addTransferred(
  db: Db,
  transfers: readonly { readonly endpointId: EndpointId; readonly bytes: number }[],
  now: Date,
): Promise<void> {
  if (transfers.length === 0) return;
  await sql`
    insert into usage_hours as h (branch_id, hour, project_id, agent_id, task_id, transferred_bytes)
    select b.id, date_trunc('hour', ${now}::timestamptz, 'UTC'), min(p.id), min(p.agent_id), min(b.task_id), sum(t.bytes)
    from unnest(${transfers.map((t) => t.endpointId)}::text[], ${transfers.map((t) => t.bytes)}::bigint[]) as t(endpoint_id, bytes)
      join endpoints e on e.id = t.endpoint_id join branches b on b.id = e.branch_id join projects p on p.id = b.project_id
    group by b.id
    on conflict (branch_id, hour) do update set transferred_bytes = h.transferred_bytes + excluded.transferred_bytes`.execute(
    db,
  );
}

export interface BranchToMeasure {
  readonly branchId: BranchId;
  readonly timelineId: TimelineId;
}

/** Branches whose size may have changed since it was last taken: with a compute that runs, or ran since. Longest ago first. */
export async function findBranchesToMeasure(
  db: Db,
  { before, limit }: { readonly before: Date; readonly limit: number },
): Promise<BranchToMeasure[]> {
  const { rows } = await sql<{ branch_id: BranchId; timeline_id: TimelineId }>`
    select b.id as branch_id, b.timeline_id
    from (
      select branch_id, max(coalesce(ended_at, 'infinity')) as used_until from computes
      where state in ('running', 'stopping') or ended_at > ${before}::timestamptz - interval '10 minutes' group by branch_id
    ) used join branches b on b.id = used.branch_id and b.deleted_at is null
      left join branch_sizes s on s.branch_id = b.id
    where s.measured_at is null or (s.measured_at < ${before}::timestamptz and s.measured_at < used.used_until + interval '30 seconds')
    order by s.measured_at nulls first limit ${limit}`.execute(db);
  return rows.map((r) => ({ branchId: r.branch_id, timelineId: r.timeline_id }));
}

export interface MeasuredSize {
  readonly branchId: BranchId;
  readonly logicalBytes: number;
  readonly ownBytes: number;
  /** What the logical size grew by since the timeline's start. */
  readonly growthBytes: number;
  /** Whether the logical size is known for sure. */
  readonly isExact: boolean;
}

/**
 * Keeps sizes as the latest known, and in the accounts of this hour.
 *
 * What a branch holds, for limits on storage, is what of its present content is its own: what it grew by, and of what it
 * inherited as much as it wrote anew. A root inherits nothing but its template, whose size is the least that it started with.
 * History is not counted, so that deleting data makes room.
 */
export async function recordSizes(db: Db, sizes: readonly MeasuredSize[], now: Date): Promise<void> {
  if (sizes.length === 0) return;
  await sql`
    with size as (
      select b.id as branch_id, p.id as project_id, p.agent_id, b.task_id, b.parent_id, s.logical, s.own, s.growth,
        least(case when s.exact then s.logical - s.growth end, mine.base_bytes) as base, of_default.base_bytes as default_base
      from unnest(${sizes.map((s) => s.branchId)}::text[], ${sizes.map((s) => s.logicalBytes)}::bigint[], ${sizes.map((s) => s.ownBytes)}::bigint[],
          ${sizes.map((s) => s.growthBytes)}::bigint[], ${sizes.map((s) => s.isExact)}::boolean[]) as s(branch_id, logical, own, growth, exact)
        join branches b on b.id = s.branch_id join projects p on p.id = b.project_id
        left join branch_sizes mine on mine.branch_id = b.id left join branch_sizes of_default on of_default.branch_id = p.default_branch_id
    ), latest as (
      insert into branch_sizes (branch_id, agent_id, logical_bytes, own_bytes, held_bytes, base_bytes, measured_at)
      select branch_id, agent_id, logical, own,
        greatest(growth, case when parent_id is null then logical - coalesce(base, logical) else least(own, logical - coalesce(default_base, 0)) end),
        base, ${now}::timestamptz from size
      on conflict (branch_id) do update set agent_id = excluded.agent_id, logical_bytes = excluded.logical_bytes, own_bytes = excluded.own_bytes,
        held_bytes = excluded.held_bytes, base_bytes = excluded.base_bytes, measured_at = excluded.measured_at
    )
    insert into usage_hours (branch_id, hour, project_id, agent_id, task_id, logical_bytes, own_bytes)
    select branch_id, date_trunc('hour', ${now}::timestamptz, 'UTC'), project_id, agent_id, task_id, logical, own from size
    on conflict (branch_id, hour) do update set logical_bytes = excluded.logical_bytes, own_bytes = excluded.own_bytes`.execute(
    db,
  );
}

/** A compute that runs, with what limits its growth. */
export interface StorageLimited {
  readonly computeId: ComputeId;
  readonly nodeAddress: string;
  readonly branchId: BranchId;
  readonly agentLimitBytes: number | undefined;
  readonly agentUsedBytes: number;
  readonly branchLimitBytes: number | undefined;
  /** Logical size, latest known; `undefined` when neither it nor any branch above was measured. */
  readonly branchBytes: number | undefined;
}

/** The size of the nearest measured branch above `b`: a fork that was never measured holds what that did, or less. */
const NEAREST_MEASURED = sql`
  with recursive above as (
    select b.parent_id as id
    union all
    select p.parent_id from above join branches p on p.id = above.id where not exists (select from branch_sizes where branch_id = p.id)
  ) select logical_bytes from above join branch_sizes on branch_id = above.id limit 1`;

/** Computes that run under a limit of storage, of their agent or their project; with `endpointId`, what would hold for its next. */
export async function findStorageLimited(
  db: Db,
  of: { readonly endpointId: EndpointId } | { readonly afterId: string; readonly limit: number },
): Promise<StorageLimited[]> {
  const one = 'endpointId' in of;
  const { rows } = await sql<{
    compute_id: ComputeId | null;
    address: string | null;
    branch_id: BranchId;
    agent_limit: number | null;
    agent_used: number;
    branch_limit: number | null;
    branch_bytes: number | null;
  }>`
    select c.id as compute_id, n.address, e.branch_id, a.max_storage_bytes as agent_limit,
      case when a.max_storage_bytes is null then 0 else (
        select coalesce(sum(z.held_bytes), 0)::bigint from branch_sizes z join branches zb on zb.id = z.branch_id and zb.deleted_at is null where z.agent_id = a.id
      ) end as agent_used,
      nullif((p.settings ->> 'logicalSizeBytes')::bigint, 0) as branch_limit,
      coalesce(s.logical_bytes, (${NEAREST_MEASURED})) as branch_bytes
    from endpoints e join projects p on p.id = e.project_id join agents a on a.id = p.agent_id join branches b on b.id = e.branch_id
      left join branch_sizes s on s.branch_id = e.branch_id
      left join computes c on c.endpoint_id = e.id and c.state in ('starting', 'running', 'stopping') left join nodes n on n.id = c.node_id
    where (a.max_storage_bytes is not null or (p.settings ->> 'logicalSizeBytes')::bigint > 0) and e.deleted_at is null
      and ${one ? sql`e.id = ${of.endpointId}` : sql`c.state = 'running' and c.id > ${of.afterId}`}
    order by c.id limit ${one ? 1 : of.limit}`.execute(db);
  return rows.map((r) => ({
    computeId: (r.compute_id ?? '') as ComputeId,
    nodeAddress: r.address ?? '',
    branchId: r.branch_id,
    agentLimitBytes: r.agent_limit ?? undefined,
    agentUsedBytes: r.agent_used,
    branchLimitBytes: r.branch_limit ?? undefined,
    branchBytes: r.branch_bytes ?? undefined,
  }));
}
