/** What was used, by project, branch, agent or task tree, in frames of an hour, a day or a month (UTC). */
import { sql, type RawBuilder } from 'kysely';
import type { BranchId, ProjectId } from '@coppice/vocabulary';
import type { Db } from './database';
import { likePattern } from './paging';

export type ConsumptionScope = 'project' | 'branch' | 'agent' | 'task';
export type Granularity = 'hour' | 'day' | 'month';

/** What to look at. `agentId` limits everything to one agent's projects; absent for operators. */
export interface ConsumptionQuery {
  readonly by: ConsumptionScope;
  readonly agentId: string | undefined;
  readonly from: Date;
  readonly to: Date;
  readonly granularity: Granularity;
  readonly now: Date;
}

/** One frame of one key; sizes are the latest known in the frame. */
export interface ConsumptionRow {
  readonly key: string;
  readonly start: number;
  readonly stop: number;
  readonly compute_unit_seconds: number;
  readonly active_seconds: number;
  readonly written_bytes: number;
  readonly transferred_bytes: number;
  readonly logical_bytes: number;
  readonly own_bytes: number;
  readonly logical_byte_hours: number;
  readonly own_byte_hours: number;
}

const KEY: Record<ConsumptionScope, RawBuilder<string>> = {
  project: sql`u.project_id`,
  branch: sql`u.branch_id`,
  agent: sql`u.agent_id`,
  task: sql`${'task'}::text`,
};

/** Rows of the accounts that belong to these keys; a task's key is itself, and takes in what is below it. */
function within({ by, agentId }: ConsumptionQuery, keys: readonly string[]): RawBuilder<unknown> {
  const scope =
    by === 'task'
      ? sql`(u.task_id = ${keys[0] ?? ''} or u.task_id like ${`${likePattern(keys[0] ?? '').slice(1, -1)}/%`})`
      : sql`${KEY[by]} = any(${[...keys]}::text[])`;
  return agentId === undefined ? scope : sql`${scope} and u.agent_id = ${agentId}`;
}

/** Branches of these projects, or `only` some of them, with anything in the accounts before `to`, in order of id, after `afterId`. */
export async function listConsumingBranches(
  db: Db,
  page: {
    readonly projectIds: readonly ProjectId[];
    readonly agentId: string | undefined;
    readonly to: Date;
    readonly afterId: string;
    readonly only: readonly BranchId[] | undefined;
    readonly limit: number;
  },
): Promise<{ branchId: string; projectId: string }[]> {
  const { rows } = await sql<{ branchId: string; projectId: string }>`
    select distinct u.branch_id as "branchId", u.project_id as "projectId" from usage_hours u
    where u.project_id = any(${[...page.projectIds]}::text[]) and u.branch_id > ${page.afterId} and u.hour < ${page.to}
      and (${page.agentId ?? null}::text is null or u.agent_id = ${page.agentId ?? null})
      and (${page.only ?? null}::text[] is null or u.branch_id = any(${page.only ?? null}::text[]))
    order by 1 limit ${page.limit}`.execute(db);
  return rows;
}

/**
 * All frames of all keys, oldest first, also those in which nothing was used. A size holds from the hour in which it was taken
 * until the next one of its branch, or until the branch was deleted.
 */
export async function readConsumption(
  db: Db,
  query: ConsumptionQuery,
  keys: readonly string[],
): Promise<ConsumptionRow[]> {
  const { from, to, granularity, now } = query;
  const step = sql`${`1 ${granularity}`}::interval`;
  const scope = within(query, keys);
  const key = query.by === 'task' ? sql`${keys[0] ?? ''}::text` : KEY[query.by];
  const { rows } = await sql<ConsumptionRow>`
    with frames as (
      select f as start, (f at time zone 'UTC' + ${step}) at time zone 'UTC' as stop
      from generate_series(${from}::timestamptz, ${to}::timestamptz - interval '1 microsecond', ${step}, 'UTC') f
    ), used as (
      select ${key} as key, date_trunc(${granularity}, u.hour, 'UTC') as start,
        sum(u.compute_unit_seconds) as compute_unit_seconds, sum(u.active_seconds) as active_seconds,
        sum(u.written_bytes)::bigint as written_bytes, sum(u.transferred_bytes)::bigint as transferred_bytes
      from usage_hours u where ${scope} and u.hour >= ${from}::timestamptz and u.hour < ${to}::timestamptz group by 1, 2
    ), points as (
      select ${key} as key, u.hour, u.logical_bytes, u.own_bytes,
        coalesce(lead(u.hour) over (partition by u.branch_id order by u.hour),
          case when b.id is null then u.hour + interval '1 hour' else coalesce(b.deleted_at, ${now}::timestamptz) end) as until
      from usage_hours u left join branches b on b.id = u.branch_id
      where ${scope} and u.hour < ${to}::timestamptz and (u.logical_bytes > 0 or u.own_bytes > 0)
    ), held as (
      select p.key, f.start,
        sum(p.logical_bytes * extract(epoch from least(p.until, f.stop) - greatest(p.hour, f.start)) / 3600)::double precision as logical_byte_hours,
        sum(p.own_bytes * extract(epoch from least(p.until, f.stop) - greatest(p.hour, f.start)) / 3600)::double precision as own_byte_hours,
        coalesce(sum(p.logical_bytes) filter (where p.until >= least(f.stop, ${now}::timestamptz)), 0)::bigint as logical_bytes,
        coalesce(sum(p.own_bytes) filter (where p.until >= least(f.stop, ${now}::timestamptz)), 0)::bigint as own_bytes
      from points p join frames f on p.hour < f.stop and p.until > f.start group by 1, 2
    )
    select k.key, f.start, f.stop, coalesce(u.compute_unit_seconds, 0) as compute_unit_seconds, coalesce(u.active_seconds, 0) as active_seconds,
      coalesce(u.written_bytes, 0) as written_bytes, coalesce(u.transferred_bytes, 0) as transferred_bytes,
      coalesce(h.logical_bytes, 0) as logical_bytes, coalesce(h.own_bytes, 0) as own_bytes,
      coalesce(h.logical_byte_hours, 0) as logical_byte_hours, coalesce(h.own_byte_hours, 0) as own_byte_hours
    from unnest(${[...keys]}::text[]) as k(key) cross join frames f
      left join used u on u.key = k.key and u.start = f.start left join held h on h.key = k.key and h.start = f.start
    order by k.key, f.start`.execute(db);
  return rows;
}

/** Totals of branches since `from`, with their sizes now; for branches in answers. */
export async function readBranchTotals(
  db: Db,
  branchIds: readonly string[],
  from: Date,
): Promise<ReadonlyMap<string, BranchTotals>> {
  const { rows } = await sql<BranchTotals & { id: string }>`
    select k.id, coalesce(u.unit_seconds, 0) as compute_unit_seconds, coalesce(u.active, 0) as active_seconds,
      coalesce(u.written, 0)::bigint as written_bytes, coalesce(u.transferred, 0)::bigint as transferred_bytes,
      coalesce(s.logical_bytes, 0) as logical_bytes, coalesce(s.own_bytes, 0) as own_bytes
    from unnest(${[...branchIds]}::text[]) as k(id) left join branch_sizes s on s.branch_id = k.id
      left join lateral (
        select sum(compute_unit_seconds) as unit_seconds, sum(active_seconds) as active, sum(written_bytes) as written, sum(transferred_bytes) as transferred
        from usage_hours h where h.branch_id = k.id and h.hour >= ${from}::timestamptz
      ) u on true`.execute(db);
  return new Map(rows.map((r) => [r.id, r]));
}

export interface BranchTotals {
  readonly compute_unit_seconds: number;
  readonly active_seconds: number;
  readonly written_bytes: number;
  readonly transferred_bytes: number;
  readonly logical_bytes: number;
  readonly own_bytes: number;
}

/** Totals of projects since `from`. */
export async function readProjectTotals(
  db: Db,
  projectIds: readonly string[],
  from: Date,
): Promise<ReadonlyMap<string, BranchTotals & { readonly last_active_at: number | null }>> {
  const { rows } = await sql<BranchTotals & { id: string; last_active_at: number | null }>`
    select k.id, coalesce(u.unit_seconds, 0) as compute_unit_seconds, coalesce(u.active, 0) as active_seconds,
      coalesce(u.written, 0)::bigint as written_bytes, coalesce(u.transferred, 0)::bigint as transferred_bytes,
      coalesce(s.logical, 0)::bigint as logical_bytes, coalesce(s.own, 0)::bigint as own_bytes, e.last_active_at
    from unnest(${[...projectIds]}::text[]) as k(id)
      left join lateral (
        select sum(compute_unit_seconds) as unit_seconds, sum(active_seconds) as active, sum(written_bytes) as written, sum(transferred_bytes) as transferred
        from usage_hours h where h.project_id = k.id and h.hour >= ${from}::timestamptz
      ) u on true
      left join lateral (
        select sum(z.logical_bytes) as logical, sum(z.own_bytes) as own from branches b join branch_sizes z on z.branch_id = b.id
        where b.project_id = k.id and b.deleted_at is null
      ) s on true
      left join lateral (select max(last_active_at) as last_active_at from endpoints x where x.project_id = k.id) e on true`.execute(
    db,
  );
  return new Map(rows.map((r) => [r.id, r]));
}
