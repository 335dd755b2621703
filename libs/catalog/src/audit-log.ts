import type { BranchId, EndpointId, ProjectId } from '@coppice/vocabulary';
import type { Db } from './database';

/** Who did what to what, for which task. */
export interface AuditEntry {
  readonly agentId: string;
  readonly taskId: string | undefined;
  readonly action: string;
  readonly projectId?: ProjectId;
  readonly branchId?: BranchId;
  readonly endpointId?: EndpointId;
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
    })
    .execute();
}
