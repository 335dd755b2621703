/** Limits on what is used over a UTC month, of agents and of projects: who has reached one. */
import { sql } from 'kysely';
import type { ComputeId, EndpointId } from '@coppice/vocabulary';
import type { Db } from './database';

export type SpendingLimit =
  | 'agent-compute-seconds'
  | 'project-active-seconds'
  | 'project-compute-seconds'
  | 'project-written-bytes'
  | 'project-transferred-bytes';

export interface LimitReached {
  readonly limit: SpendingLimit;
  readonly allowed: number;
  readonly used: number;
}

const OVER = sql`
  select 'agent-compute-seconds' as limit, a.max_compute_seconds::double precision as allowed, coalesce(m.compute_unit_seconds, 0) as used
  where a.max_compute_seconds is not null
  union all select 'project-active-seconds', (p.settings ->> 'activeSeconds')::double precision, u.active where p.settings ->> 'activeSeconds' <> '0'
  union all select 'project-compute-seconds', (p.settings ->> 'computeSeconds')::double precision, u.unit_seconds where p.settings ->> 'computeSeconds' <> '0'
  union all select 'project-written-bytes', (p.settings ->> 'writtenBytes')::double precision, u.written where p.settings ->> 'writtenBytes' <> '0'
  union all select 'project-transferred-bytes', (p.settings ->> 'transferredBytes')::double precision, u.transferred where p.settings ->> 'transferredBytes' <> '0'`;

const USE = (monthStart: Date) => sql`
  left join agent_months m on m.agent_id = a.id and m.month = ${monthStart}::timestamptz
  left join lateral (
    select sum(active_seconds) as active, sum(compute_unit_seconds) as unit_seconds, sum(written_bytes)::double precision as written,
      sum(transferred_bytes)::double precision as transferred
    from usage_hours h where h.project_id = p.id and h.hour >= ${monthStart}::timestamptz and p.settings <> '{}'
  ) u on true`;

/** The first limit that forbids an endpoint's compute to start; `undefined` when none does. */
export async function findLimitReached(
  db: Db,
  endpointId: EndpointId,
  monthStart: Date,
): Promise<LimitReached | undefined> {
  const { rows } = await sql<LimitReached>`
    select l.* from endpoints e join projects p on p.id = e.project_id join agents a on a.id = p.agent_id ${USE(monthStart)}
      cross join lateral (${OVER}) l
    where e.id = ${endpointId} and l.used >= l.allowed limit 1`.execute(db);
  return rows[0];
}

/** Running computes whose agent or project has reached a limit, with the limit. */
export async function findOverLimit(
  db: Db,
  monthStart: Date,
  limit: number,
): Promise<(LimitReached & { readonly computeId: ComputeId })[]> {
  const { rows } = await sql<LimitReached & { computeId: ComputeId }>`
    select c.id as "computeId", l.* from computes c join projects p on p.id = c.project_id join agents a on a.id = p.agent_id ${USE(monthStart)}
      cross join lateral (${OVER}) l
    where c.state = 'running' and l.used >= l.allowed and (a.max_compute_seconds is not null or p.settings <> '{}') limit ${limit}`.execute(
    db,
  );
  return rows;
}
