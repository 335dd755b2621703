/** Projects, what is used, and operations. Prose: protos/control.proto. */
import type { Model } from './rpc/codec';
import { bool, message, number, optional, repeated, safeInt, text } from './rpc/codec';

export const principal = message({
  agentId: text,
  name: text,
  scope: text,
  projectId: text,
  branchId: text,
  createdUnixMs: safeInt,
});
export type PrincipalModel = Model<typeof principal>;

export const consumption = message({
  computeUnitSeconds: number,
  activeSeconds: number,
  writtenBytes: safeInt,
  transferredBytes: safeInt,
  logicalBytes: safeInt,
  ownBytes: safeInt,
  logicalByteHours: number,
  ownByteHours: number,
});
export type Consumption = Model<typeof consumption>;

export const projectSettings = message({
  quotaActiveSeconds: safeInt,
  quotaComputeSeconds: safeInt,
  quotaWrittenBytes: safeInt,
  quotaTransferredBytes: safeInt,
  quotaLogicalSizeBytes: safeInt,
});
export type ProjectSettings = Model<typeof projectSettings>;

export const project = message({
  id: text,
  name: text,
  pgVersion: number,
  ownerId: text,
  defaultBranchId: text,
  createdUnixMs: safeInt,
  updatedUnixMs: safeInt,
  historyRetentionSeconds: number,
  suspendTimeoutSeconds: number,
  deletedUnixMs: safeInt,
  recoverableUntilUnixMs: safeInt,
  consumption: optional(consumption),
  computeLastActiveUnixMs: safeInt,
  settings: optional(projectSettings),
  minComputeUnits: number,
  maxComputeUnits: number,
});
export type ProjectModel = Model<typeof project>;

export const operation = message({
  id: text,
  projectId: text,
  branchId: text,
  endpointId: text,
  action: text,
  status: text,
  error: text,
  failures: number,
  createdUnixMs: safeInt,
  updatedUnixMs: safeInt,
  durationMs: number,
});
export type OperationModel = Model<typeof operation>;

export const updateProjectRequest = message({
  projectId: text,
  name: optional(text),
  historyRetentionSeconds: optional(number),
  suspendTimeoutSeconds: optional(number),
  minComputeUnits: optional(number),
  maxComputeUnits: optional(number),
  settings: optional(projectSettings),
});
export type UpdateProjectRequest = Model<typeof updateProjectRequest>;

export const projectChanged = message({
  project: project,
  operations: repeated(operation),
});
export type ProjectChanged = Model<typeof projectChanged>;

export const deleteProjectRequest = message({
  projectId: text,
  hard: bool,
});
export type DeleteProjectRequest = Model<typeof deleteProjectRequest>;

export const projectDeleted = message({
  project: project,
});
export type ProjectDeleted = Model<typeof projectDeleted>;

export const listProjectsRequest = message({
  cursor: text,
  limit: number,
  search: text,
  deleted: bool,
});
export type ListProjectsRequest = Model<typeof listProjectsRequest>;

export const projectList = message({
  projects: repeated(project),
  nextCursor: text,
});
export type ProjectList = Model<typeof projectList>;

export const projectRef = message({
  projectId: text,
});
export type ProjectRef = Model<typeof projectRef>;

export const listOperationsRequest = message({
  projectId: text,
  cursor: text,
  limit: number,
});
export type ListOperationsRequest = Model<typeof listOperationsRequest>;

export const operationList = message({
  operations: repeated(operation),
  nextCursor: text,
});
export type OperationList = Model<typeof operationList>;

export const operationRef = message({
  projectId: text,
  operationId: text,
});
export type OperationRef = Model<typeof operationRef>;

export const operationsDone = message({
  operations: repeated(operation),
});
export type OperationsDone = Model<typeof operationsDone>;

export const readiness = message({
  ready: bool,
  waitingFor: text,
});
export type Readiness = Model<typeof readiness>;
