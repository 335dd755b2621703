/** Endpoints, roles, databases and how to connect. Prose: protos/control.proto. */
import type { Model } from './rpc/codec';
import { bool, message, number, optional, repeated, safeInt, text } from './rpc/codec';
import { operation } from './control-projects';

export const endpoint = message({
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
  name: text,
});
export type EndpointModel = Model<typeof endpoint>;

export const newEndpoint = message({
  type: text,
  suspendTimeoutSeconds: number,
  minComputeUnits: number,
  maxComputeUnits: number,
});
export type NewEndpoint = Model<typeof newEndpoint>;

export const createEndpointRequest = message({
  projectId: text,
  branchId: text,
  endpoint: newEndpoint,
  name: text,
  disabled: bool,
});
export type CreateEndpointRequest = Model<typeof createEndpointRequest>;

export const updateEndpointRequest = message({
  projectId: text,
  endpointId: text,
  suspendTimeoutSeconds: optional(number),
  minComputeUnits: optional(number),
  maxComputeUnits: optional(number),
  disabled: optional(bool),
  name: optional(text),
  branchId: optional(text),
});
export type UpdateEndpointRequest = Model<typeof updateEndpointRequest>;

export const endpointRef = message({
  projectId: text,
  endpointId: text,
});
export type EndpointRef = Model<typeof endpointRef>;

const activityReason = message({
  kind: text,
  sinceUnixMs: safeInt,
  pid: number,
  name: text,
  database: text,
});
export const endpointActivity = message({
  endpointId: text,
  isRunning: bool,
  lastActiveUnixMs: safeInt,
  reasons: repeated(activityReason),
  seenUnixMs: safeInt,
  suspendUnixMs: safeInt,
});
export type EndpointActivity = Model<typeof endpointActivity>;

export const endpointList = message({
  endpoints: repeated(endpoint),
});
export type EndpointList = Model<typeof endpointList>;

export const endpointChanged = message({
  endpoint: endpoint,
  operations: repeated(operation),
});
export type EndpointChanged = Model<typeof endpointChanged>;

export const role = message({
  branchId: text,
  name: text,
  password: text,
  isProtected: bool,
  createdUnixMs: safeInt,
  updatedUnixMs: safeInt,
});
export type RoleModel = Model<typeof role>;

export const roleRef = message({
  projectId: text,
  branchId: text,
  roleName: text,
});
export type RoleRef = Model<typeof roleRef>;

export const createRoleRequest = message({
  projectId: text,
  branchId: text,
  roleName: text,
  noLogin: bool,
});
export type CreateRoleRequest = Model<typeof createRoleRequest>;

export const roleList = message({
  roles: repeated(role),
});
export type RoleList = Model<typeof roleList>;

export const roleChanged = message({
  role: role,
  operations: repeated(operation),
});
export type RoleChanged = Model<typeof roleChanged>;

export const database = message({
  id: safeInt,
  branchId: text,
  name: text,
  ownerName: text,
  createdUnixMs: safeInt,
  updatedUnixMs: safeInt,
});
export type DatabaseModel = Model<typeof database>;

export const databaseRef = message({
  projectId: text,
  branchId: text,
  databaseName: text,
});
export type DatabaseRef = Model<typeof databaseRef>;

export const databaseList = message({
  databases: repeated(database),
});
export type DatabaseList = Model<typeof databaseList>;

export const databaseChanged = message({
  database: database,
  operations: repeated(operation),
});
export type DatabaseChanged = Model<typeof databaseChanged>;

export const createDatabaseRequest = message({
  projectId: text,
  branchId: text,
  databaseName: text,
  ownerName: text,
});
export type CreateDatabaseRequest = Model<typeof createDatabaseRequest>;

export const updateDatabaseRequest = message({
  projectId: text,
  branchId: text,
  databaseName: text,
  newName: text,
  newOwnerName: text,
});
export type UpdateDatabaseRequest = Model<typeof updateDatabaseRequest>;

export const connectionUri = message({
  uri: text,
  database: text,
  role: text,
  password: text,
  host: text,
  poolerHost: text,
});
export type ConnectionUriModel = Model<typeof connectionUri>;

export const connectionUriRequest = message({
  projectId: text,
  branchId: text,
  endpointId: text,
  databaseName: text,
  roleName: text,
  pooled: bool,
});
export type ConnectionUriRequest = Model<typeof connectionUriRequest>;
