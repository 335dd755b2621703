import type { Selectable } from 'kysely';
import { sql } from 'kysely';
import type { ProjectId } from '@coppice/vocabulary';
import type { Db } from './database';
import { likePattern, type PageAfter } from './paging';
import type { ProjectSettings, ProjectsTable } from './schema';

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
  /** Instead of live ones, those that were deleted and can be recovered at this time. */
  readonly recoverableAt?: Date;
  readonly search?: string;
  readonly after?: PageAfter<number>;
  readonly limit: number;
}

/** Newest first. */
export async function listProjects(
  db: Db,
  { agentId, recoverableAt, search, after, limit }: ListProjects,
): Promise<ProjectRow[]> {
  let query = db.selectFrom('projects').selectAll();
  query =
    recoverableAt === undefined
      ? query.where('deleted_at', 'is', null)
      : query.where('deleted_at', 'is not', null).where(sql<boolean>`recoverable_until > ${recoverableAt}`);
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

/** What of a project can be changed. */
export interface ProjectChanges {
  readonly name?: string;
  readonly historyRetentionSeconds?: number;
  readonly suspendTimeoutSeconds?: number;
  readonly minComputeUnits?: number;
  readonly maxComputeUnits?: number;
  readonly settings?: ProjectSettings;
}

/** Changes a project that is not deleted; what is not named stays. */
export async function updateProject(
  db: Db,
  id: ProjectId,
  c: ProjectChanges,
  now: Date,
): Promise<ProjectRow | undefined> {
  return db
    .updateTable('projects')
    .set({
      updated_at: now,
      ...(c.name === undefined ? {} : { name: c.name }),
      ...(c.historyRetentionSeconds === undefined
        ? {}
        : { history_retention_seconds: c.historyRetentionSeconds }),
      ...(c.suspendTimeoutSeconds === undefined ? {} : { suspend_timeout_seconds: c.suspendTimeoutSeconds }),
      ...(c.minComputeUnits === undefined ? {} : { min_compute_units: c.minComputeUnits }),
      ...(c.maxComputeUnits === undefined ? {} : { max_compute_units: c.maxComputeUnits }),
      ...(c.settings === undefined ? {} : { settings: JSON.stringify(c.settings) }),
    })
    .where('id', '=', id)
    .where('deleted_at', 'is', null)
    .returningAll()
    .executeTakeFirst();
}
