import type { Selectable } from 'kysely';
import { sql } from 'kysely';
import type { ProjectId } from '@coppice/vocabulary';
import type { Db } from './database';
import { likePattern, type PageAfter } from './paging';
import type { ProjectsTable } from './schema';

export type ProjectRow = Selectable<ProjectsTable>;

/** A project that is not deleted; with `agentId`, only when it belongs to that agent. */
export async function findProject(db: Db, id: ProjectId, agentId?: string): Promise<ProjectRow | undefined> {
  let query = db.selectFrom('projects').selectAll().where('id', '=', id).where('deleted_at', 'is', null);
  if (agentId !== undefined) query = query.where('agent_id', '=', agentId);
  return query.executeTakeFirst();
}

export interface ListProjects {
  /** Absent: of all agents. */
  readonly agentId?: string;
  readonly search?: string;
  readonly after?: PageAfter<number>;
  readonly limit: number;
}

/** Newest first. */
export async function listProjects(
  db: Db,
  { agentId, search, after, limit }: ListProjects,
): Promise<ProjectRow[]> {
  let query = db.selectFrom('projects').selectAll().where('deleted_at', 'is', null);
  if (agentId !== undefined) query = query.where('agent_id', '=', agentId);
  if (search)
    query = query.where(sql<boolean>`(name ilike ${likePattern(search)} or id ilike ${likePattern(search)})`);
  if (after)
    query = query.where(sql<boolean>`(created_at, id) < (${new Date(after.key)}::timestamptz, ${after.id})`);
  return query.orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit).execute();
}

export interface NewProject {
  readonly row: Omit<
    ProjectRow,
    'created_at' | 'updated_at' | 'deleted_at' | 'deletion_id' | 'recoverable_until'
  >;
  readonly now: Date;
}

export async function insertProject(db: Db, { row, now }: NewProject): Promise<void> {
  await db
    .insertInto('projects')
    .values({ ...row, settings: JSON.stringify(row.settings), created_at: now, updated_at: now })
    .execute();
}

/** Marks a project, its branches and its endpoints deleted, and revokes every credential. Live computes are left `stopping`. */
export async function softDeleteProject(db: Db, id: ProjectId, now: Date): Promise<void> {
  await sql`
    with project as (update projects set deleted_at = ${now}, updated_at = ${now} where id = ${id} and deleted_at is null returning id),
    gone as (update branches set deleted_at = ${now}, updated_at = ${now} where project_id in (select id from project) and deleted_at is null returning id),
    closed as (update endpoints set deleted_at = ${now}, updated_at = ${now} where project_id in (select id from project) and deleted_at is null returning id),
    ending as (update computes set state = 'stopping', idle_due_at = null where endpoint_id in (select id from closed) and state in ('starting', 'running'))
    update credentials set revoked_at = ${now} where branch_id in (select id from gone) and revoked_at is null`.execute(
    db,
  );
}
