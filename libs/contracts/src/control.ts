/** The public contract of the control plane as models. Prose: protos/control.proto. */
import type { Model } from './rpc/codec';
import {
  bool,
  empty,
  message,
  number,
  optionalLsn,
  optionalTimelineId,
  repeated,
  safeInt,
  text,
} from './rpc/codec';
import { defineService, unary } from './rpc/service';

const principal = message({ agentId: text, name: text, scope: text });
export type PrincipalModel = Model<typeof principal>;

const project = message({
  id: text,
  name: text,
  pgVersion: number,
  ownerId: text,
  defaultBranchId: text,
  createdUnixMs: safeInt,
  updatedUnixMs: safeInt,
  historyRetentionSeconds: number,
  suspendTimeoutSeconds: number,
});
export type ProjectModel = Model<typeof project>;

const branch = message({
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
  logicalSizeBytes: safeInt,
  writtenBytes: safeInt,
  createdUnixMs: safeInt,
  updatedUnixMs: safeInt,
});
export type BranchModel = Model<typeof branch>;

const endpoint = message({
  id: text,
  projectId: text,
  branchId: text,
  type: text,
  host: text,
  state: text,
  suspendTimeoutSeconds: number,
  minComputeUnits: number,
  maxComputeUnits: number,
  lastActiveUnixMs: safeInt,
  startedUnixMs: safeInt,
  suspendedUnixMs: safeInt,
  createdUnixMs: safeInt,
  updatedUnixMs: safeInt,
  disabled: bool,
});
export type EndpointModel = Model<typeof endpoint>;

const role = message({
  branchId: text,
  name: text,
  password: text,
  isProtected: bool,
  createdUnixMs: safeInt,
  updatedUnixMs: safeInt,
});
export type RoleModel = Model<typeof role>;
const database = message({
  id: safeInt,
  branchId: text,
  name: text,
  ownerName: text,
  createdUnixMs: safeInt,
  updatedUnixMs: safeInt,
});
export type DatabaseModel = Model<typeof database>;

const operation = message({
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

const connectionUri = message({
  uri: text,
  database: text,
  role: text,
  password: text,
  host: text,
  poolerHost: text,
});
export type ConnectionUriModel = Model<typeof connectionUri>;

const createProjectRequest = message({
  name: text,
  pgVersion: number,
  branchName: text,
  roleName: text,
  databaseName: text,
  suspendTimeoutSeconds: number,
  historyRetentionSeconds: number,
  minComputeUnits: number,
  maxComputeUnits: number,
});
export type CreateProjectRequest = Model<typeof createProjectRequest>;

/** What creating a branch, or a project with its first branch, gives. */
const branchParts = {
  branch,
  endpoints: repeated(endpoint),
  operations: repeated(operation),
  roles: repeated(role),
  databases: repeated(database),
  connectionUris: repeated(connectionUri),
};
const projectCreated = message({ project, ...branchParts });
export type ProjectCreated = Model<typeof projectCreated>;
const branchCreated = message(branchParts);
export type BranchCreated = Model<typeof branchCreated>;

const newEndpoint = message({
  type: text,
  suspendTimeoutSeconds: number,
  minComputeUnits: number,
  maxComputeUnits: number,
});
export type NewEndpoint = Model<typeof newEndpoint>;
const createBranchRequest = message({
  projectId: text,
  parentId: text,
  name: text,
  parentLsn: optionalLsn,
  parentTimestampUnixMicros: safeInt,
  endpoints: repeated(newEndpoint),
  isProtected: bool,
});
export type CreateBranchRequest = Model<typeof createBranchRequest>;

const listRequest = message({ cursor: text, limit: number, search: text });
const listBranchesRequest = message({
  projectId: text,
  cursor: text,
  limit: number,
  search: text,
  sortBy: text,
  sortOrder: text,
});
export type ListBranchesRequest = Model<typeof listBranchesRequest>;
const connectionUriRequest = message({
  projectId: text,
  branchId: text,
  endpointId: text,
  databaseName: text,
  roleName: text,
  pooled: bool,
});
export type ConnectionUriRequest = Model<typeof connectionUriRequest>;

const projectRef = message({ projectId: text });
const branchRef = message({ projectId: text, branchId: text });
const endpointRef = message({ projectId: text, endpointId: text });
const endpointChanged = message({ endpoint, operations: repeated(operation) });
export type EndpointChanged = Model<typeof endpointChanged>;

export const controlContract = defineService('control.proto', 'coppice.control.v1.Control', {
  createProject: unary(createProjectRequest, projectCreated, 30_000),
  listProjects: unary(listRequest, message({ projects: repeated(project), nextCursor: text })),
  getProject: unary(projectRef, project),
  deleteProject: unary(projectRef, message({ project }), 60_000),
  createBranch: unary(createBranchRequest, branchCreated, 30_000),
  listBranches: unary(listBranchesRequest, message({ branches: repeated(branch), nextCursor: text })),
  getBranch: unary(branchRef, branch),
  deleteBranch: unary(branchRef, message({ branch, operations: repeated(operation) }), 60_000),
  listEndpoints: unary(projectRef, message({ endpoints: repeated(endpoint) })),
  getEndpoint: unary(endpointRef, endpoint),
  startEndpoint: unary(endpointRef, endpointChanged, 60_000),
  suspendEndpoint: unary(endpointRef, endpointChanged, 60_000),
  getConnectionUri: unary(connectionUriRequest, connectionUri),
  listOperations: unary(
    message({ projectId: text, cursor: text, limit: number }),
    message({ operations: repeated(operation), nextCursor: text }),
  ),
  getOperation: unary(message({ projectId: text, operationId: text }), operation),
  whoAmI: unary(empty, principal),
  getReadiness: unary(empty, message({ ready: bool, waitingFor: text })),
});
