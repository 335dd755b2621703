/**
 * What must never be so in the metadata, each as a query that finds it. Some of it is so for a moment while a flow goes on
 * between two transactions: who asks looks again before believing it. These read whole tables: for people and tests, not for
 * a fleet's every second.
 */
import { type RawBuilder, sql } from 'kysely';
import type { Db } from './database';
import { dueQuery, DUE_KINDS } from './due';

export interface Contradiction {
  readonly kind: string;
  readonly id: string;
  readonly projectId: string;
  readonly branchId: string;
  readonly detail: string;
}

interface Row {
  id: string;
  project_id: string | null;
  branch_id: string | null;
  detail: string;
}

/** How long a start, a stop or an operation may be under way, seconds. */
const UNFINISHED_AFTER = 30;
/** How long the reaper may leave something due, seconds: its brake and its pauses are shorter. */
const OVERDUE_AFTER = 300;
/** How long a compute agent may be silent before its computes must be called failed, seconds. */
const SILENT_AFTER = 60;

const LIVE = sql`('starting', 'running', 'stopping')`;
const BARRED = sql`coalesce(t.retained_from = 'FFFFFFFF/FFFFFFFF'::pg_lsn, false)`;
/** An endpoint of passing computes, which run on timelines of their own (see passing-computes.ts). */
const PASSING = sql`(e.type = 'read_only' and e.deleted_at is not distinct from e.created_at)`;
const before = (now: Date, seconds: number) => sql`${new Date(now.getTime() - seconds * 1000)}::timestamptz`;

/** Columns id, project_id, branch_id, detail. */
const RULES: Readonly<Record<string, (now: Date) => RawBuilder<unknown>>> = {
  'endpoint-of-no-branch': () => sql`
    select e.id, e.project_id, e.branch_id, 'its branch is deleted, the endpoint is not' as detail
    from endpoints e join branches b on b.id = e.branch_id where e.deleted_at is null and b.deleted_at is not null`,
  'branch-of-no-project': () => sql`
    select b.id, b.project_id, b.id as branch_id, 'its project is deleted, the branch is not' as detail
    from branches b join projects p on p.id = b.project_id where b.deleted_at is null and p.deleted_at is not null`,
  'project-of-no-agent': () => sql`
    select p.id, p.id as project_id, null as branch_id, 'agent ' || p.agent_id || ' is deleted, its project is not' as detail
    from projects p join agents a on a.id = p.agent_id where p.deleted_at is null and a.deleted_at is not null`,
  'checkpoint-of-no-branch': () => sql`
    select id, project_id, null as branch_id, kind || ' "' || name || '" has no branch' as detail
    from checkpoints where branch_id is null and kind <> 'snapshot'`,
  'database-of-no-role': () => sql`
    select d.branch_id || '/' || d.name as id, b.project_id, d.branch_id, 'the branch has no role "' || d.owner_name || '", which owns it' as detail
    from databases d join branches b on b.id = d.branch_id
    where b.deleted_at is null and not exists (select from roles r where r.branch_id = d.branch_id and r.name = d.owner_name)`,
  'credential-of-no-role': () => sql`
    select c.id::text as id, b.project_id, c.branch_id, 'the branch has no role "' || c.role_name || '"' as detail
    from credentials c join branches b on b.id = c.branch_id
    where c.revoked_at is null and b.deleted_at is null and not exists (select from roles r where r.branch_id = c.branch_id and r.name = c.role_name)`,
  'project-without-default': () => sql`
    select p.id, p.id as project_id, p.default_branch_id as branch_id,
      'its default branch is ' || p.default_branch_id || '; marked so and alive: ' || coalesce(d.ids, 'none') as detail
    from projects p left join (
      select project_id, string_agg(id, ', ' order by id) as ids from branches where is_default and deleted_at is null group by project_id
    ) d on d.project_id = p.id
    where p.deleted_at is null and d.ids is distinct from p.default_branch_id`,
  'branch-parent-elsewhere': () => sql`
    select b.id, b.project_id, b.id as branch_id, 'its parent ' || parent.id || ' is of project ' || parent.project_id as detail
    from branches b join branches parent on parent.id = b.parent_id where parent.project_id <> b.project_id`,
  'branch-timeline-elsewhere': () => sql`
    select b.id, b.project_id, b.id as branch_id, 'its timeline ' || t.id || ' is of project ' || coalesce(t.project_id, '(none)') as detail
    from branches b join timelines t on t.id = b.timeline_id where t.project_id is distinct from b.project_id`,
  'never-purged': () => sql`
    select id, project_id, id as branch_id, 'the deleted branch has no end of its recovery window' as detail
    from branches where deleted_at is not null and recoverable_until is null
    union all
    select id, id, null, 'the deleted project has no end of its recovery window' from projects where deleted_at is not null and recoverable_until is null`,
  'timeline-going-in-use': () => sql`
    select t.id, t.project_id, null as branch_id, 'it is being removed, and something starts on it' as detail
    from timelines t where ${BARRED} and (
      exists (select from branches b where b.timeline_id = t.id) or exists (select from timelines c where c.ancestor_id = t.id)
      or exists (select from checkpoints k where k.timeline_id = t.id) or exists (select from templates m where m.timeline_id = t.id))`,
  'timeline-unneeded': () => sql`
    select t.id, t.project_id, null as branch_id, 'no branch, child or checkpoint needs it, and it is not due to be removed' as detail
    from timelines t where t.purge_due_at is null
      and not exists (select from branches b where b.timeline_id = t.id) and not exists (select from timelines c where c.ancestor_id = t.id)
      and not exists (select from checkpoints k where k.timeline_id = t.id) and not exists (select from templates m where m.timeline_id = t.id)`,
  'compute-of-no-branch': () => sql`
    select c.id, c.project_id, c.branch_id, c.state || ' for endpoint ' || c.endpoint_id || ', which is deleted or whose branch is' as detail
    from computes c join endpoints e on e.id = c.endpoint_id join branches b on b.id = e.branch_id
    where c.state in ('starting', 'running') and (e.deleted_at is not null and not ${PASSING} or b.deleted_at is not null)`,
  'compute-on-old-timeline': () => sql`
    select c.id, c.project_id, c.branch_id, c.state || ' on timeline ' || c.timeline_id || ', its branch is on ' || b.timeline_id as detail
    from computes c join endpoints e on e.id = c.endpoint_id join branches b on b.id = e.branch_id
    where c.state in ('starting', 'running') and c.timeline_id <> b.timeline_id and not ${PASSING}`,
  'compute-unfinished': (now) => sql`
    select id, project_id, branch_id, state || ', made at ' || created_at as detail
    from computes where state in ('starting', 'stopping') and created_at < ${before(now, UNFINISHED_AFTER)}`,
  'compute-on-silent-node': (now) => sql`
    select c.id, c.project_id, c.branch_id, c.state || ' on node ' || c.node_id || ', which is unknown or silent' as detail
    from computes c left join nodes n on n.id = c.node_id
    where c.state in ${LIVE} and (n.id is null or n.heartbeat_at < ${before(now, SILENT_AFTER)})`,
  'operation-unfinished': (now) => sql`
    select id::text as id, project_id, branch_id, action || ' is ' || status || ' since ' || created_at as detail
    from operations where status in ('scheduling', 'running') and created_at < ${before(now, UNFINISHED_AFTER)}`,
  'usage-in-the-future': (now) => sql`
    select branch_id || '/' || hour as id, project_id, branch_id, 'usage of an hour to come' as detail
    from usage_hours where hour > ${now}::timestamptz`,
  'quota-not-given-back': () => sql`
    select id::text as id, null as project_id, null as branch_id, 'agent ' || agent_id || ': ' || projects || ' projects, ' || branches || ' branches, ' || computes || ' computes ended and still count' as detail
    from quota_releases`,
  ...Object.fromEntries(
    DUE_KINDS.map((kind) => [
      `overdue-${kind}`,
      (now: Date) =>
        sql`select id, project_id, branch_id, 'due since ' || due_at as detail from (${dueQuery(kind, new Date(now.getTime() - OVERDUE_AFTER * 1000), 1_000)}) due`,
    ]),
  ),
};

export const CONTRADICTION_KINDS: readonly string[] = Object.keys(RULES);

/** At most `limit` of each kind. */
export async function findContradictions(
  db: Db,
  { now, limit }: { readonly now: Date; readonly limit: number },
): Promise<Contradiction[]> {
  const found: Contradiction[] = [];
  for (const [kind, rule] of Object.entries(RULES)) {
    const { rows } =
      await sql<Row>`select * from (${rule(now)}) rule order by id limit ${limit}::integer`.execute(db);
    for (const r of rows)
      found.push({
        kind,
        id: r.id,
        projectId: r.project_id ?? '',
        branchId: r.branch_id ?? '',
        detail: r.detail,
      });
  }
  return found;
}
