/**
 * Removing for good what is past its recovery window, from the outside in. Each function is one transaction's work on a
 * bounded batch, takes only rows that nobody else holds, and leaves what it no longer needs due for the next:
 *
 *   branch ──► endpoints, computes, roles, databases, credentials, its checkpoints ──► timelines due
 *   project (when no branch is left) ──► snapshots ──► timelines due
 *   timeline that nothing refers to ──► barred ──► safekeepers, pageserver ──► its row; its ancestor due
 */
import { sql } from 'kysely';
import type { BranchId, ProjectId, TimelineId } from '@coppice/vocabulary';
import type { Db } from './database';
import { meterBeforePurge } from './metering';

/** `retained_from` of a timeline that is being removed: no position of it is kept, so that nothing new can start on it. */
const NOTHING_RETAINED = 'FFFFFFFF/FFFFFFFF';

export interface PurgedBranch {
  readonly id: BranchId;
  readonly projectId: ProjectId;
}

/** Removes deleted branches whose window is over and whose computes have ended. */
export async function purgeBranches(tx: Db, now: Date, limit: number): Promise<PurgedBranch[]> {
  const { rows } = await sql<{ id: BranchId; project_id: ProjectId; timeline_id: TimelineId }>`
    select id, project_id, timeline_id from branches b
    where deleted_at is not null and recoverable_until <= ${now}::timestamptz and not exists (
      select from endpoints e join computes c on c.endpoint_id = e.id and c.state in ('starting', 'running', 'stopping') where e.branch_id = b.id)
    order by recoverable_until limit ${limit}::integer for update of b skip locked`.execute(tx);
  if (rows.length === 0) return [];
  const ids = rows.map((r) => r.id);
  await meterBeforePurge(tx, ids, now);
  const checkpoints = await sql<{ timeline_id: TimelineId }>`
    delete from checkpoints where branch_id = any(${ids}::text[]) and kind <> 'snapshot' returning timeline_id`.execute(
    tx,
  );
  for (const statement of [
    sql`delete from credentials where branch_id = any(${ids}::text[])`,
    sql`delete from roles where branch_id = any(${ids}::text[])`,
    sql`delete from databases where branch_id = any(${ids}::text[])`,
    sql`delete from computes where endpoint_id in (select id from endpoints where branch_id = any(${ids}::text[]))`,
    sql`delete from endpoints where branch_id = any(${ids}::text[])`,
    sql`delete from branches where id = any(${ids}::text[])`,
  ])
    await statement.execute(tx);
  await makeTimelinesDue(
    tx,
    [...rows, ...checkpoints.rows].map((r) => r.timeline_id),
    now,
  );
  return rows.map((r) => ({ id: r.id, projectId: r.project_id }));
}

/** Removes deleted projects whose window is over and of which no branch is left. */
export async function purgeProjects(tx: Db, now: Date, limit: number): Promise<ProjectId[]> {
  const { rows } = await sql<{ id: ProjectId }>`
    select id from projects p where deleted_at is not null and recoverable_until <= ${now}::timestamptz
      and not exists (select from branches b where b.project_id = p.id)
    order by recoverable_until limit ${limit}::integer for update skip locked`.execute(tx);
  if (rows.length === 0) return [];
  const ids = rows.map((r) => r.id);
  const checkpoints = await sql<{ timeline_id: TimelineId }>`
    delete from checkpoints where project_id = any(${ids}::text[]) returning timeline_id`.execute(tx);
  await sql`delete from projects where id = any(${ids}::text[])`.execute(tx);
  await makeTimelinesDue(
    tx,
    checkpoints.rows.map((r) => r.timeline_id),
    now,
  );
  return ids;
}

/** Removes checkpoints and snapshots that have expired. */
export async function expireCheckpoints(
  tx: Db,
  now: Date,
  limit: number,
): Promise<{ id: string; projectId: ProjectId; branchId: BranchId | undefined; kind: string }[]> {
  const { rows } = await sql<{
    id: string;
    project_id: ProjectId;
    branch_id: BranchId | null;
    kind: string;
    timeline_id: TimelineId;
  }>`
    delete from checkpoints where id in (
      select id from checkpoints where expires_at is not null and expires_at <= ${now}::timestamptz
      order by expires_at limit ${limit}::integer for update skip locked)
    returning id, project_id, branch_id, kind, timeline_id`.execute(tx);
  await makeTimelinesDue(
    tx,
    rows.map((r) => r.timeline_id),
    now,
  );
  return rows.map((r) => ({
    id: r.id,
    projectId: r.project_id,
    branchId: r.branch_id ?? undefined,
    kind: r.kind,
  }));
}

/** Revokes credentials that have expired: what they opened, they open no more. */
export async function expireCredentials(
  tx: Db,
  now: Date,
  limit: number,
): Promise<{ id: string; branchId: BranchId; projectId: ProjectId }[]> {
  const { rows } = await sql<{ id: string; branch_id: BranchId; project_id: ProjectId }>`
    update credentials c set revoked_at = ${now}::timestamptz from branches b where b.id = c.branch_id and c.id in (
      select id from credentials where revoked_at is null and expires_at is not null and expires_at <= ${now}::timestamptz
      order by expires_at limit ${limit}::integer for update skip locked)
    returning c.id, c.branch_id, b.project_id`.execute(tx);
  return rows.map((r) => ({ id: r.id, branchId: r.branch_id, projectId: r.project_id }));
}

/** Says that something which needed these timelines does not any more. Templates are never due. */
export async function makeTimelinesDue(tx: Db, ids: readonly TimelineId[], now: Date): Promise<void> {
  if (ids.length === 0) return;
  // In order of the ids, so that two that do this wait for each other rather than deadlock.
  await sql`
    update timelines t set purge_due_at = least(t.purge_due_at, ${now}::timestamptz) from (
      select id from timelines where id = any(${[...new Set(ids)]}::text[]) and ancestor_id is not null order by id for no key update
    ) held where t.id = held.id`.execute(tx);
}

/** What still needs a timeline: how many of each, counted up to one. */
export interface TimelineUses {
  readonly isTemplate: boolean;
  /** Deleted ones that have not been purged are among them. */
  readonly branches: number;
  readonly children: number;
  readonly checkpoints: number;
  readonly liveComputes: number;
}

/**
 * Whether a timeline that is due may go. Pure. Nothing that is left may have it on the way to its own beginning. A compute that
 * is still being ended makes nobody look again, so that has to be done later; all others do when they stop needing it.
 */
export function timelineVerdict(u: TimelineUses): 'remove' | 'needed' | 'later' {
  if (u.isTemplate || u.branches + u.children + u.checkpoints > 0) return 'needed';
  return u.liveComputes > 0 ? 'later' : 'remove';
}

/** How long a timeline is left alone whose compute is still being ended, milliseconds. */
const LATER_MS = 2_000;

export interface BarredTimeline {
  readonly id: TimelineId;
  readonly projectId: ProjectId | undefined;
}

/**
 * Decides over one timeline that is due, in a transaction of its own. One that may go is barred: from then on nothing can start
 * on it and it must be removed. One that is needed is due no more; whoever stops needing it makes it due again. `undefined`
 * when it is needed, gone, or in another's hands. Whoever would begin to need the timeline holds its row, so it is seen here.
 */
export async function barTimeline(tx: Db, id: TimelineId, now: Date): Promise<BarredTimeline | undefined> {
  const { rows } = await sql<{ project_id: ProjectId | null; barred: boolean }>`
    select project_id, coalesce(retained_from = ${NOTHING_RETAINED}::pg_lsn, false) as barred from timelines
    where id = ${id} and purge_due_at <= ${now}::timestamptz for update skip locked`.execute(tx);
  const row = rows[0];
  if (!row) return undefined;
  const barred = { id, projectId: row.project_id ?? undefined };
  if (row.barred) return barred;
  switch (timelineVerdict(await usesOf(tx, id))) {
    case 'remove':
      await tx
        .updateTable('timelines')
        .set({ retained_from: NOTHING_RETAINED })
        .where('id', '=', id)
        .execute();
      return barred;
    case 'needed':
      await tx.updateTable('timelines').set({ purge_due_at: null }).where('id', '=', id).execute();
      return undefined;
    case 'later':
      await postponePurge(tx, id, new Date(now.getTime() + LATER_MS));
      return undefined;
  }
}

async function usesOf(tx: Db, id: TimelineId): Promise<TimelineUses> {
  const { rows } = await sql<{
    template: boolean;
    branches: boolean;
    children: boolean;
    checkpoints: boolean;
    computes: boolean;
  }>`
    select exists (select from templates where timeline_id = ${id}) as template, exists (select from branches where timeline_id = ${id}) as branches,
      exists (select from timelines where ancestor_id = ${id}) as children, exists (select from checkpoints where timeline_id = ${id}) as checkpoints,
      exists (select from computes where timeline_id = ${id} and state in ('starting', 'running', 'stopping')) as computes`.execute(
    tx,
  );
  const r = rows[0]!;
  return {
    isTemplate: r.template,
    branches: Number(r.branches),
    children: Number(r.children),
    checkpoints: Number(r.checkpoints),
    liveComputes: Number(r.computes),
  };
}

/** Puts the removal of a barred timeline off, because a service that holds data of it cannot be asked now. */
export async function postponePurge(db: Db, id: TimelineId, until: Date): Promise<void> {
  await db.updateTable('timelines').set({ purge_due_at: until }).where('id', '=', id).execute();
}

/** Forgets a barred timeline of which no service holds anything any more; its ancestor is looked at next. */
export async function forgetTimeline(tx: Db, id: TimelineId, now: Date): Promise<boolean> {
  const { rows } = await sql<{ ancestor_id: TimelineId | null }>`
    delete from timelines where id = ${id} and retained_from = ${NOTHING_RETAINED}::pg_lsn returning ancestor_id`.execute(
    tx,
  );
  const [row] = rows;
  if (!row) return false;
  if (row.ancestor_id !== null) await makeTimelinesDue(tx, [row.ancestor_id], now);
  return true;
}
