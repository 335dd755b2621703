import { sql, type Selectable } from 'kysely';
import type { BranchId, EndpointId, ProjectId } from '@coppice/vocabulary';
import type { Db } from './database';
import { likePattern } from './paging';
import type { AuditLogTable } from './schema';

export type AuditRow = Selectable<AuditLogTable>;

/** Who acts, for which task, with which key. */
export interface Actor {
  readonly agentId: string;
  readonly taskId: string | undefined;
  /** The API key; absent where none was used. */
  readonly keyId?: number | undefined;
}

/** Who did what to what, for which task. */
export interface AuditEntry extends Actor {
  readonly action: string;
  readonly projectId?: ProjectId;
  readonly branchId?: BranchId;
  readonly endpointId?: EndpointId;
  /** What else there is to say; no secrets. */
  readonly detail?: unknown;
  readonly now: Date;
}

/** Who may see an entry besides operators: the agent whose project it concerns, else who acted. */
function ownerOf({ agentId, projectId }: Pick<AuditEntry, 'agentId' | 'projectId'>) {
  return sql<string>`coalesce((select agent_id from projects where id = ${projectId ?? null}::text), ${agentId}::text)`;
}

export async function recordAudit(db: Db, entry: AuditEntry): Promise<void> {
  await recordAudits(db, [entry]);
}

export async function recordAudits(db: Db, entries: readonly AuditEntry[]): Promise<void> {
  if (entries.length === 0) return;
  await db
    .insertInto('audit_log')
    .values(
      entries.map((entry) => ({
        at: entry.now,
        agent_id: entry.agentId,
        task_id: entry.taskId ?? null,
        action: entry.action,
        project_id: entry.projectId ?? null,
        branch_id: entry.branchId ?? null,
        endpoint_id: entry.endpointId ?? null,
        key_id: entry.keyId ?? null,
        detail: entry.detail === undefined ? null : JSON.stringify(entry.detail),
        owner_id: ownerOf(entry),
      })),
    )
    .execute();
}

export interface AuditFilter {
  /** Only what this agent may see; absent for operators. */
  readonly visibleTo: string | undefined;
  readonly projectId: ProjectId | undefined;
  readonly branchId: BranchId | undefined;
  readonly agentId: string | undefined;
  /** With the tasks below it. */
  readonly taskId: string | undefined;
  /** Entries older than this one. */
  readonly beforeId: number | undefined;
  readonly limit: number;
}

/** Newest first. */
export async function listAudit(db: Db, f: AuditFilter): Promise<AuditRow[]> {
  let query = db.selectFrom('audit_log as a').selectAll('a');
  if (f.projectId !== undefined) query = query.where('a.project_id', '=', f.projectId);
  if (f.branchId !== undefined) query = query.where('a.branch_id', '=', f.branchId);
  if (f.agentId !== undefined) query = query.where('a.agent_id', '=', f.agentId);
  if (f.taskId !== undefined)
    query = query.where(
      sql<boolean>`(a.task_id = ${f.taskId} or a.task_id like ${`${likePattern(f.taskId).slice(1, -1)}/%`})`,
    );
  if (f.visibleTo !== undefined) query = query.where('a.owner_id', '=', f.visibleTo);
  if (f.beforeId !== undefined) query = query.where('a.id', '<', f.beforeId);
  return query.orderBy('a.id', 'desc').limit(f.limit).execute();
}
