/** Checkpoints and snapshots as models of the public contract. */
import type { CheckpointRow } from '@coppice/catalog';
import type { CheckpointModel, SnapshotModel } from '@coppice/contracts';

export function checkpointModel(row: CheckpointRow): CheckpointModel {
  return {
    id: row.id,
    projectId: row.project_id,
    branchId: row.branch_id ?? '',
    name: row.name,
    lsn: row.lsn,
    createdUnixMs: row.created_at,
    expiresUnixMs: row.expires_at ?? 0,
    taskId: row.task_id ?? '',
    automatic: row.kind === 'automatic',
  };
}

export function snapshotModel(row: CheckpointRow): SnapshotModel {
  return {
    id: row.id,
    name: row.name,
    lsn: row.lsn,
    timestampUnixMs: row.at_timestamp ?? 0,
    sourceBranchId: row.branch_id ?? '',
    createdUnixMs: row.created_at,
    expiresUnixMs: row.expires_at ?? 0,
    fullSizeBytes: row.size_bytes ?? 0,
  };
}
