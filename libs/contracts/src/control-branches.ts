/** Branches: making, ending and recovering them. Prose: protos/control.proto. */
import type { Model } from './rpc/codec';
import {
  bool,
  message,
  number,
  optional,
  optionalLsn,
  optionalTimelineId,
  repeated,
  safeInt,
  text,
  textMap,
} from './rpc/codec';
import { connectionUri, database, endpoint, newEndpoint, role } from './control-endpoints';
import { consumption, operation, project, projectSettings } from './control-projects';

export const timeToLive = message({
  kind: text,
  seconds: number,
  expiresUnixMs: safeInt,
  subtree: bool,
});
export type TimeToLive = Model<typeof timeToLive>;

export const newTimeToLive = message({
  kind: text,
  seconds: number,
  expiresUnixMs: safeInt,
  subtree: bool,
  defaultBranch: bool,
});
export type NewTimeToLive = Model<typeof newTimeToLive>;

export const branch = message({
  id: text,
  projectId: text,
  name: text,
  parentId: text,
  parentLsn: optionalLsn,
  parentTimestampUnixMs: safeInt,
  isDefault: bool,
  isProtected: bool,
  state: text,
  timelineId: optionalTimelineId,
  createdUnixMs: safeInt,
  updatedUnixMs: safeInt,
  ttl: optional(timeToLive),
  restoredFrom: text,
  restoredAs: text,
  lastResetUnixMs: safeInt,
  deletedUnixMs: safeInt,
  recoverableUntilUnixMs: safeInt,
  deletionMethod: text,
  consumption: optional(consumption),
  taskId: text,
  annotations: textMap,
  restoreStatus: text,
  createdBy: text,
});
export type BranchModel = Model<typeof branch>;

export const createBranchRequest = message({
  projectId: text,
  parentId: text,
  name: text,
  parentLsn: optionalLsn,
  parentTimestampUnixMicros: safeInt,
  endpoints: repeated(newEndpoint),
  isProtected: bool,
  parentCheckpoint: text,
  ttl: optional(newTimeToLive),
  annotations: textMap,
  initSource: text,
});
export type CreateBranchRequest = Model<typeof createBranchRequest>;

export const branchCreated = message({
  branch: branch,
  endpoints: repeated(endpoint),
  operations: repeated(operation),
  roles: repeated(role),
  databases: repeated(database),
  connectionUris: repeated(connectionUri),
});
export type BranchCreated = Model<typeof branchCreated>;

export const listBranchesRequest = message({
  projectId: text,
  cursor: text,
  limit: number,
  search: text,
  sortBy: text,
  sortOrder: text,
  includeDeleted: bool,
});
export type ListBranchesRequest = Model<typeof listBranchesRequest>;

export const branchList = message({
  branches: repeated(branch),
  nextCursor: text,
});
export type BranchList = Model<typeof branchList>;

export const countBranchesRequest = message({
  projectId: text,
  search: text,
});
export type CountBranchesRequest = Model<typeof countBranchesRequest>;

export const branchCount = message({
  count: safeInt,
});
export type BranchCount = Model<typeof branchCount>;

export const branchRef = message({
  projectId: text,
  branchId: text,
});
export type BranchRef = Model<typeof branchRef>;

export const updateBranchRequest = message({
  projectId: text,
  branchId: text,
  name: optional(text),
  isProtected: optional(bool),
  ttl: optional(newTimeToLive),
  noTtl: bool,
  annotations: textMap,
  setAnnotations: bool,
});
export type UpdateBranchRequest = Model<typeof updateBranchRequest>;

export const branchChanged = message({
  branch: branch,
  operations: repeated(operation),
});
export type BranchChanged = Model<typeof branchChanged>;

export const deleteBranchRequest = message({
  projectId: text,
  branchId: text,
  children: text,
  hard: bool,
  defaultBranch: bool,
});
export type DeleteBranchRequest = Model<typeof deleteBranchRequest>;

export const branchDeleted = message({
  branch: branch,
  operations: repeated(operation),
});
export type BranchDeleted = Model<typeof branchDeleted>;

export const branchRecovered = message({
  branch: branch,
  endpoints: repeated(endpoint),
  others: repeated(branch),
});
export type BranchRecovered = Model<typeof branchRecovered>;

export const createProjectRequest = message({
  name: text,
  pgVersion: number,
  branchName: text,
  roleName: text,
  databaseName: text,
  suspendTimeoutSeconds: number,
  historyRetentionSeconds: number,
  minComputeUnits: number,
  maxComputeUnits: number,
  settings: optional(projectSettings),
  agentId: text,
  annotations: textMap,
});
export type CreateProjectRequest = Model<typeof createProjectRequest>;

export const projectCreated = message({
  project: project,
  branch: branch,
  endpoints: repeated(endpoint),
  roles: repeated(role),
  databases: repeated(database),
  operations: repeated(operation),
  connectionUris: repeated(connectionUri),
});
export type ProjectCreated = Model<typeof projectCreated>;

export const projectRecovered = message({
  project: project,
  branches: repeated(branch),
});
export type ProjectRecovered = Model<typeof projectRecovered>;
