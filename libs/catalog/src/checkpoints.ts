/**
 * Names for positions of history. A checkpoint is of a branch, but names a timeline: it goes on meaning the same when the
 * branch is put on another one, and keeps that timeline from being removed. A snapshot is one that outlives its branch.
 */
import { sql, type Selectable } from 'kysely';
import { type BranchId, formatLsn, type Lsn, type ProjectId, type TimelineId } from '@coppice/vocabulary';
import type { Db } from './database';
import type { PageAfter } from './paging';
import { opens } from './logins';
import { makeTimelinesDue } from './purge';
import type { CheckpointKind, CheckpointsTable } from './schema';

export type CheckpointRow = Selectable<CheckpointsTable>;

export interface NewCheckpoint {
  readonly id: string;
  readonly kind: CheckpointKind;
  readonly projectId: ProjectId;
  readonly branchId: BranchId;
  readonly name: string;
  readonly timelineId: TimelineId;
  readonly lsn: Lsn;
  readonly beforeSetup: boolean;
  /** Where it was asked for by time. */
  readonly atTimestamp: Date | undefined;
  readonly taskId: string | undefined;
  readonly expiresAt: Date | undefined;
  readonly now: Date;
}

/**
 * Keeps a position, with the databases that the branch has now, and the roles that it can be opened as. An automatic one is of
 * where the timeline ends: it is put there when that has become known since. `undefined` when the branch is gone, holds `most`
 * of the kind already, or the position is not kept any more.
 */
export async function insertCheckpoint(
  db: Db,
  c: NewCheckpoint,
  most: number,
): Promise<CheckpointRow | undefined> {
  const lsn = formatLsn(c.lsn);
  const { rows } = await sql<CheckpointRow>`
    with branch as (
      select id from branches where id = ${c.branchId} and project_id = ${c.projectId} and deleted_at is null for share
    ), history as (
      select id, case when ${c.kind} = 'automatic' then greatest(${lsn}::pg_lsn, head_lsn) else ${lsn}::pg_lsn end as lsn from timelines
      where id = ${c.timelineId} and (retained_from is null or retained_from <= ${lsn}::pg_lsn) for share
    )
    insert into checkpoints (id, kind, project_id, branch_id, name, timeline_id, lsn, before_setup, at_timestamp, size_bytes, roles, databases,
      task_id, expires_at, created_at)
    select ${c.id}, ${c.kind}, ${c.projectId}, branch.id, ${c.name}, history.id, history.lsn, ${c.beforeSetup}::boolean,
      ${c.atTimestamp ?? null}::timestamptz, (select logical_bytes from branch_sizes s where s.branch_id = branch.id),
      array(select name from roles r where r.branch_id = branch.id and ${opens(sql`branch.id`, sql`r.name`)} order by name),
      (select coalesce(jsonb_agg(jsonb_build_object('name', name, 'ownerName', owner_name) order by d.id), '[]') from databases d where d.branch_id = branch.id),
      ${c.taskId ?? null}::text, ${c.expiresAt ?? null}::timestamptz, ${c.now}::timestamptz
    from branch, history where ${countOf(c)} < ${most}::integer returning *`.execute(db);
  return rows[0];
}

/** How many of a kind there are where they are counted: checkpoints per branch, snapshots per project. */
function countOf(c: Pick<NewCheckpoint, 'kind' | 'branchId' | 'projectId'>) {
  return c.kind === 'snapshot'
    ? sql`(select count(*) from checkpoints where project_id = ${c.projectId} and kind = 'snapshot')`
    : sql`(select count(*) from checkpoints where branch_id = ${c.branchId} and kind = ${c.kind})`;
}

/** Whether there are as many of the kind as there may be. */
export async function checkpointsFull(
  db: Db,
  c: Pick<NewCheckpoint, 'kind' | 'branchId' | 'projectId'>,
  most: number,
): Promise<boolean> {
  const { rows } = await sql<{ full: boolean }>`select ${countOf(c)} >= ${most}::integer as full`.execute(db);
  return rows[0]?.full ?? false;
}

/** The newest automatic checkpoints of a branch stay, `most` of them. */
export async function dropOldestAutomatic(
  tx: Db,
  branchId: BranchId,
  most: number,
  now: Date,
): Promise<void> {
  const { rows } = await sql<{ timeline_id: TimelineId }>`
    delete from checkpoints where id in (
      select id from checkpoints where branch_id = ${branchId} and kind = 'automatic' order by created_at desc, id desc offset ${most}::integer)
    returning timeline_id`.execute(tx);
  await makeTimelinesDue(
    tx,
    rows.map((r) => r.timeline_id),
    now,
  );
}

const unexpired = (now: Date) => sql<boolean>`(expires_at is null or expires_at > ${now}::timestamptz)`;

/** A checkpoint of a branch by id or name; the id goes first. */
export async function findCheckpoint(
  db: Db,
  of: { readonly projectId: ProjectId; readonly branchId: BranchId },
  idOrName: string,
  now: Date,
): Promise<CheckpointRow | undefined> {
  return db
    .selectFrom('checkpoints')
    .selectAll()
    .where('branch_id', '=', of.branchId)
    .where('project_id', '=', of.projectId)
    .where('kind', '<>', 'snapshot')
    .where((e) => e.or([e('id', '=', idOrName), e('name', '=', idOrName)]))
    .where(unexpired(now))
    .orderBy(sql`(id = ${idOrName})`, 'desc')
    .limit(1)
    .executeTakeFirst();
}

/** Checkpoints of a branch, newest first. */
export async function listCheckpoints(
  db: Db,
  branchId: BranchId,
  page: { readonly limit: number; readonly after?: PageAfter<number> | undefined; readonly now: Date },
): Promise<CheckpointRow[]> {
  let query = db
    .selectFrom('checkpoints')
    .selectAll()
    .where('branch_id', '=', branchId)
    .where('kind', '<>', 'snapshot')
    .where(unexpired(page.now));
  if (page.after)
    query = query.where(
      sql<boolean>`(created_at, id) < (${new Date(page.after.key)}::timestamptz, ${page.after.id})`,
    );
  return query.orderBy('created_at', 'desc').orderBy('id', 'desc').limit(page.limit).execute();
}

/** A snapshot of a project; its branch may be gone. */
export async function findSnapshot(
  db: Db,
  projectId: ProjectId,
  id: string,
  now: Date,
): Promise<CheckpointRow | undefined> {
  return db
    .selectFrom('checkpoints')
    .selectAll()
    .where('id', '=', id)
    .where('project_id', '=', projectId)
    .where('kind', '=', 'snapshot')
    .where(unexpired(now))
    .executeTakeFirst();
}

/** Snapshots of a project, or of one of its branches, newest first. */
export async function listSnapshots(
  db: Db,
  of: { readonly projectId: ProjectId; readonly branchId?: BranchId | undefined },
  limit: number,
  now: Date,
): Promise<CheckpointRow[]> {
  let query = db
    .selectFrom('checkpoints')
    .selectAll()
    .where('project_id', '=', of.projectId)
    .where('kind', '=', 'snapshot')
    .where(unexpired(now));
  if (of.branchId !== undefined) query = query.where('branch_id', '=', of.branchId);
  return query.orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit).execute();
}

export async function renameSnapshot(db: Db, id: string, name: string): Promise<CheckpointRow | undefined> {
  return db.updateTable('checkpoints').set({ name }).where('id', '=', id).returningAll().executeTakeFirst();
}

/** Removes a checkpoint or snapshot; its timeline goes when nothing else needs it. False when it is not there any more. */
export async function deleteCheckpoint(tx: Db, id: string, now: Date): Promise<boolean> {
  const gone = await tx
    .deleteFrom('checkpoints')
    .where('id', '=', id)
    .returning('timeline_id')
    .executeTakeFirst();
  if (!gone) return false;
  await makeTimelinesDue(tx, [gone.timeline_id], now);
  return true;
}
