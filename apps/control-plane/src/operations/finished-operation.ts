/** The record of an operation that was over before it was recorded. */
import type { OperationRow } from '@coppice/catalog';
import type { BranchId, EndpointId, ProjectId } from '@coppice/vocabulary';

export interface Finished {
  readonly id: string;
  readonly action: string;
  readonly projectId?: ProjectId;
  readonly branchId?: BranchId;
  readonly endpointId?: EndpointId;
  /** Unix milliseconds. */
  readonly beganAt: number;
  readonly endedAt: number;
  /** Set when it failed. */
  readonly error?: string;
}

export function finishedOperation(f: Finished): OperationRow {
  return {
    id: f.id,
    project_id: f.projectId ?? null,
    branch_id: f.branchId ?? null,
    endpoint_id: f.endpointId ?? null,
    action: f.action,
    status: f.error === undefined ? 'finished' : 'failed',
    error: f.error ?? null,
    failures: f.error === undefined ? 0 : 1,
    duration_ms: Math.max(0, Math.round(f.endedAt - f.beganAt)),
    detail: null,
    claimed_until: null,
    created_at: f.beganAt,
    updated_at: f.endedAt,
  };
}
