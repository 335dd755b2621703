import { z } from 'zod';
import { branch, branchPath } from './branches';
import { endpoint } from './endpoints';
import { operations } from './operations';
import { count, dateTime, lsn, name, page, pagination, pathId, projectPath, text, when } from './primitives';

export const restoreBody = z.strictObject({
  source_branch_id: pathId.optional(),
  source_lsn: lsn.optional(),
  source_timestamp: dateTime.optional(),
  source_checkpoint: text(256, 1).optional(),
  preserve_under_name: text(256).optional(),
});
export const finalizeBody = z.strictObject({ name: name.optional() });

export const schemaQuery = z.strictObject({
  db_name: text(255, 1),
  lsn: lsn.optional(),
  timestamp: dateTime.optional(),
  format: z.enum(['sql', 'json']).optional(),
});
export const compareQuery = z.strictObject({
  base_branch_id: pathId.optional(),
  db_name: text(255, 1),
  lsn: lsn.optional(),
  timestamp: dateTime.optional(),
  base_lsn: lsn.optional(),
  base_timestamp: dateTime.optional(),
});
export const branchSchema = z.object({ sql: z.string().optional(), json: z.unknown().optional() });
export const schemaComparison = z.object({ diff: z.string() });

export const checkpointPath = branchPath.extend({ checkpoint: text(256, 1) });
export const checkpointsQuery = page(1000);
export const createCheckpointBody = z.strictObject({
  checkpoint: z
    .strictObject({
      name: name.optional(),
      lsn: lsn.optional(),
      timestamp: dateTime.optional(),
      expires_at: dateTime.optional(),
    })
    .optional(),
});
const checkpoint = z.object({
  id: z.string(),
  project_id: z.string(),
  branch_id: z.string(),
  name: z.string(),
  lsn: z.string().optional(),
  created_at: when,
  expires_at: when.optional(),
  task_id: z.string().optional(),
  automatic: z.boolean(),
});
export type CheckpointJson = z.infer<typeof checkpoint>;
export const checkpointResponse = z.object({ checkpoint });
export const checkpointsResponse = z.object({ checkpoints: z.array(checkpoint), pagination });

export const snapshotPath = projectPath.extend({ snapshot_id: pathId });
export const createSnapshotQuery = z.strictObject({
  lsn: lsn.optional(),
  timestamp: dateTime.optional(),
  name: name.optional(),
  slug: text(256).optional(),
  expires_at: dateTime.optional(),
});
export const updateSnapshotBody = z.strictObject({
  snapshot: z.strictObject({ name: name.optional(), expires_at: dateTime.nullable().optional() }),
});
export const restoreSnapshotQuery = z.strictObject({ name: name.optional() });
export const restoreSnapshotBody = z.strictObject({
  name: name.optional(),
  target_branch_id: pathId.optional(),
  finalize_restore: z.boolean().optional(),
});
const snapshot = z.object({
  id: z.string(),
  name: z.string(),
  lsn: z.string().optional(),
  timestamp: when.optional(),
  source_branch_id: z.string().optional(),
  created_at: when,
  expires_at: when.optional(),
  manual: z.boolean(),
  full_size: count.optional(),
});
export type SnapshotJson = z.infer<typeof snapshot>;
export const snapshotResponse = z.object({ snapshot });
export const snapshotOperations = z.object({ snapshot, operations });
export const snapshotsResponse = z.object({ snapshots: z.array(snapshot) });
export const snapshotRestored = z.object({ branch, endpoints: z.array(endpoint), operations });
