import type { CheckpointModel, SnapshotModel } from '@coppice/contracts';
import { lsnText, time, timestamp } from '../formats';
import type { CheckpointJson, SnapshotJson } from '../schemas/rewind';

export function checkpointJson(c: CheckpointModel): CheckpointJson {
  return {
    id: c.id,
    project_id: c.projectId,
    branch_id: c.branchId,
    name: c.name,
    lsn: lsnText(c.lsn),
    created_at: time(c.createdUnixMs),
    expires_at: timestamp(c.expiresUnixMs),
    task_id: c.taskId || undefined,
    automatic: c.automatic,
  };
}

export function snapshotJson(s: SnapshotModel): SnapshotJson {
  return {
    id: s.id,
    name: s.name,
    lsn: lsnText(s.lsn),
    timestamp: timestamp(s.timestampUnixMs),
    source_branch_id: s.sourceBranchId || undefined,
    created_at: time(s.createdUnixMs),
    expires_at: timestamp(s.expiresUnixMs),
    manual: true,
    full_size: s.fullSizeBytes || undefined,
  };
}
