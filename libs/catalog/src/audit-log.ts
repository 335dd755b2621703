import type { BranchId, EndpointId, ProjectId } from '@coppice/vocabulary';
import type { Db } from './database';

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

export async function recordAudit(db: Db, entry: AuditEntry): Promise<void> {
  await db
    .insertInto('audit_log')
    .values({
      at: entry.now,
      agent_id: entry.agentId,
      task_id: entry.taskId ?? null,
      action: entry.action,
      project_id: entry.projectId ?? null,
      branch_id: entry.branchId ?? null,
      endpoint_id: entry.endpointId ?? null,
      key_id: entry.keyId ?? null,
      detail: entry.detail === undefined ? null : JSON.stringify(entry.detail),
    })
    .execute();
}
