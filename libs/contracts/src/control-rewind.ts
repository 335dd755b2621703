/** Going back: restore, checkpoints, snapshots, and the schema then. Prose: protos/control.proto. */
import type { Model } from './rpc/codec';
import { bool, message, number, optionalLsn, repeated, safeInt, text } from './rpc/codec';
import { operation } from './control-projects';

export const restoreBranchRequest = message({
  projectId: text,
  branchId: text,
  sourceBranchId: text,
  sourceLsn: optionalLsn,
  sourceTimestampUnixMicros: safeInt,
  sourceCheckpoint: text,
  preserveUnderName: text,
});
export type RestoreBranchRequest = Model<typeof restoreBranchRequest>;

export const branchSchemaRequest = message({
  projectId: text,
  branchId: text,
  database: text,
  lsn: optionalLsn,
  timestampUnixMicros: safeInt,
});
export type BranchSchemaRequest = Model<typeof branchSchemaRequest>;

export const branchSchema = message({
  sql: text,
  json: text,
});
export type BranchSchema = Model<typeof branchSchema>;

export const compareSchemasRequest = message({
  projectId: text,
  branchId: text,
  baseBranchId: text,
  database: text,
  lsn: optionalLsn,
  timestampUnixMicros: safeInt,
  baseLsn: optionalLsn,
  baseTimestampUnixMicros: safeInt,
});
export type CompareSchemasRequest = Model<typeof compareSchemasRequest>;

export const schemaComparison = message({
  diff: text,
});
export type SchemaComparison = Model<typeof schemaComparison>;

export const checkpoint = message({
  id: text,
  projectId: text,
  branchId: text,
  name: text,
  lsn: optionalLsn,
  createdUnixMs: safeInt,
  expiresUnixMs: safeInt,
  taskId: text,
  automatic: bool,
});
export type CheckpointModel = Model<typeof checkpoint>;

export const createCheckpointRequest = message({
  projectId: text,
  branchId: text,
  name: text,
  lsn: optionalLsn,
  timestampUnixMicros: safeInt,
  expiresUnixMs: safeInt,
});
export type CreateCheckpointRequest = Model<typeof createCheckpointRequest>;

export const listCheckpointsRequest = message({
  projectId: text,
  branchId: text,
  cursor: text,
  limit: number,
});
export type ListCheckpointsRequest = Model<typeof listCheckpointsRequest>;

export const checkpointList = message({
  checkpoints: repeated(checkpoint),
  nextCursor: text,
});
export type CheckpointList = Model<typeof checkpointList>;

export const checkpointRef = message({
  projectId: text,
  branchId: text,
  checkpoint: text,
});
export type CheckpointRef = Model<typeof checkpointRef>;

export const snapshot = message({
  id: text,
  name: text,
  lsn: optionalLsn,
  timestampUnixMs: safeInt,
  sourceBranchId: text,
  createdUnixMs: safeInt,
  expiresUnixMs: safeInt,
  fullSizeBytes: safeInt,
});
export type SnapshotModel = Model<typeof snapshot>;

export const createSnapshotRequest = message({
  projectId: text,
  branchId: text,
  name: text,
  lsn: optionalLsn,
  timestampUnixMicros: safeInt,
  expiresUnixMs: safeInt,
});
export type CreateSnapshotRequest = Model<typeof createSnapshotRequest>;

export const snapshotChanged = message({
  snapshot: snapshot,
  operations: repeated(operation),
});
export type SnapshotChanged = Model<typeof snapshotChanged>;

export const snapshotList = message({
  snapshots: repeated(snapshot),
});
export type SnapshotList = Model<typeof snapshotList>;

export const snapshotRef = message({
  projectId: text,
  snapshotId: text,
});
export type SnapshotRef = Model<typeof snapshotRef>;

export const updateSnapshotRequest = message({
  projectId: text,
  snapshotId: text,
  name: text,
});
export type UpdateSnapshotRequest = Model<typeof updateSnapshotRequest>;

export const restoreSnapshotRequest = message({
  projectId: text,
  snapshotId: text,
  name: text,
  targetBranchId: text,
  finalize: bool,
});
export type RestoreSnapshotRequest = Model<typeof restoreSnapshotRequest>;

export const finalizeRestoreRequest = message({
  projectId: text,
  branchId: text,
  name: text,
});
export type FinalizeRestoreRequest = Model<typeof finalizeRestoreRequest>;
