/**
 * What has outlived its use: found through indexes that hold just what can fall due, so that looking costs O(due), not O(fleet).
 *
 *   expired-branch       branches_expiring        its time to live is over, as things stand
 *   deleted-branch       branches_purgeable       deleted and past its recovery window
 *   deleted-project      projects_purgeable       the same
 *   deleted-timeline     timelines_purgeable      perhaps nothing needs it any more
 *   expired-credential   credentials_expiring
 *   expired-checkpoint   checkpoints_expiring
 */
import { type RawBuilder, sql } from 'kysely';
import type { BranchId, ProjectId } from '@coppice/vocabulary';
import type { Db } from './database';

export const DUE_KINDS = [
  'expired-branch',
  'deleted-branch',
  'deleted-project',
  'deleted-timeline',
  'expired-credential',
  'expired-checkpoint',
] as const;
export type DueKind = (typeof DUE_KINDS)[number];

export interface DueItem {
  readonly id: string;
  readonly projectId: ProjectId | undefined;
  readonly branchId: BranchId | undefined;
  /** Unix milliseconds. */
  readonly dueAt: number;
}

interface DueQuery {
  /** Columns id, project_id, branch_id and due_at of what is due at `now`, unordered. */
  readonly rows: (now: Date) => RawBuilder<unknown>;
  /** The table whose size the share of what is due is told by. */
  readonly table: string;
}

const DUE: Readonly<Record<DueKind, DueQuery>> = {
  'expired-branch': {
    rows: (now) => sql`
      select id, project_id, id as branch_id, expires_at as due_at from branches
      where deleted_at is null and expires_at is not null and expires_at <= ${now}::timestamptz`,
    table: 'branches',
  },
  'deleted-branch': {
    rows: (now) => sql`
      select id, project_id, id as branch_id, recoverable_until as due_at from branches
      where deleted_at is not null and recoverable_until <= ${now}::timestamptz`,
    table: 'branches',
  },
  'deleted-project': {
    rows: (now) => sql`
      select id, id as project_id, null as branch_id, recoverable_until as due_at from projects
      where deleted_at is not null and recoverable_until <= ${now}::timestamptz`,
    table: 'projects',
  },
  'deleted-timeline': {
    rows: (now) => sql`
      select id, project_id, null as branch_id, purge_due_at as due_at from timelines
      where purge_due_at is not null and purge_due_at <= ${now}::timestamptz`,
    table: 'timelines',
  },
  'expired-credential': {
    rows: (now) => sql`
      select id::text as id, null as project_id, branch_id, expires_at as due_at from credentials
      where revoked_at is null and expires_at is not null and expires_at <= ${now}::timestamptz`,
    table: 'credentials',
  },
  'expired-checkpoint': {
    rows: (now) => sql`
      select id, project_id, branch_id, expires_at as due_at from checkpoints
      where expires_at is not null and expires_at <= ${now}::timestamptz`,
    table: 'checkpoints',
  },
};

/** The query that `findDue` runs, for looking at its plan. */
export function dueQuery(kind: DueKind, now: Date, limit: number): RawBuilder<unknown> {
  return sql`${DUE[kind].rows(now)} order by due_at limit ${limit}::integer`;
}

/** What is due, longest overdue first. */
export async function findDue(db: Db, kind: DueKind, now: Date, limit: number): Promise<DueItem[]> {
  const { rows } = await (
    dueQuery(kind, now, limit) as RawBuilder<{
      id: string;
      project_id: ProjectId | null;
      branch_id: BranchId | null;
      due_at: number;
    }>
  ).execute(db);
  return rows.map((r) => ({
    id: r.id,
    projectId: r.project_id ?? undefined,
    branchId: r.branch_id ?? undefined,
    dueAt: r.due_at,
  }));
}

/** How many are due, counted up to `most`. */
export async function countDue(db: Db, kind: DueKind, now: Date, most: number): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*) as count from (${DUE[kind].rows(now)} limit ${most}::integer) due`.execute(db);
  return rows[0]?.count ?? 0;
}

/** How many running computes are idle past their limit. */
export async function countIdleComputes(db: Db, now: Date): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*) as count from computes
    where state = 'running' and idle_due_at is not null and idle_due_at <= ${now}::timestamptz`.execute(db);
  return rows[0]?.count ?? 0;
}

/** Rows counted rather than estimated, so that small fleets are known exactly. */
const COUNTED = 2_000;

/** About how many rows there are of what can fall due: exact while they are few, else as PostgreSQL estimates. */
export async function estimatePopulation(db: Db, kind: DueKind): Promise<number> {
  const { table } = DUE[kind];
  const { rows } = await sql<{ counted: number; estimated: number }>`
    select (select count(*) from (select from ${sql.table(table)} limit ${COUNTED}::integer) few) as counted,
      greatest((select reltuples from pg_class where oid = ${table}::regclass), 0)::bigint as estimated`.execute(
    db,
  );
  const { counted, estimated } = rows[0]!;
  return counted < COUNTED ? counted : Math.max(counted, estimated);
}
