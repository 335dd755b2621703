/** Agents, API keys and credentials. Prose: protos/fleet.proto. */
import type { Model } from './rpc/codec';
import { bool, message, number, optional, repeated, safeInt, text } from './rpc/codec';

export const quotas = message({
  projects: optional(safeInt),
  branches: optional(safeInt),
  computes: optional(safeInt),
  storageBytes: optional(safeInt),
  computeSeconds: optional(safeInt),
  requestsPerSecond: optional(safeInt),
});
export type Quotas = Model<typeof quotas>;

export const agentUsage = message({
  projects: safeInt,
  branches: safeInt,
  computes: safeInt,
  storageBytes: safeInt,
  computeSeconds: number,
});
export type AgentUsage = Model<typeof agentUsage>;

export const agent = message({
  id: text,
  name: text,
  quotas: quotas,
  usage: agentUsage,
  createdUnixMs: safeInt,
  updatedUnixMs: safeInt,
});
export type AgentModel = Model<typeof agent>;

export const createAgentRequest = message({
  name: text,
  quotas: optional(quotas),
});
export type CreateAgentRequest = Model<typeof createAgentRequest>;

export const apiKey = message({
  id: safeInt,
  agentId: text,
  name: text,
  scope: text,
  projectId: text,
  branchId: text,
  createdUnixMs: safeInt,
  lastUsedUnixMs: safeInt,
  lastUsedFrom: text,
  expiresUnixMs: safeInt,
  revokedUnixMs: safeInt,
});
export type ApiKeyModel = Model<typeof apiKey>;

export const apiKeyCreated = message({
  key: apiKey,
  secret: text,
});
export type ApiKeyCreated = Model<typeof apiKeyCreated>;

export const agentCreated = message({
  agent: agent,
  apiKey: apiKeyCreated,
});
export type AgentCreated = Model<typeof agentCreated>;

export const listAgentsRequest = message({
  cursor: text,
  limit: number,
  search: text,
});
export type ListAgentsRequest = Model<typeof listAgentsRequest>;

export const agentList = message({
  agents: repeated(agent),
  nextCursor: text,
});
export type AgentList = Model<typeof agentList>;

export const agentRef = message({
  agentId: text,
});
export type AgentRef = Model<typeof agentRef>;

export const updateAgentRequest = message({
  agentId: text,
  name: optional(text),
  quotas: optional(quotas),
  set: repeated(text),
});
export type UpdateAgentRequest = Model<typeof updateAgentRequest>;

export const deleteAgentRequest = message({
  agentId: text,
  withProjects: bool,
});
export type DeleteAgentRequest = Model<typeof deleteAgentRequest>;

export const createApiKeyRequest = message({
  name: text,
  agentId: text,
  projectId: text,
  branchId: text,
  ttlSeconds: number,
});
export type CreateApiKeyRequest = Model<typeof createApiKeyRequest>;

export const listApiKeysRequest = message({
  agentId: text,
});
export type ListApiKeysRequest = Model<typeof listApiKeysRequest>;

export const apiKeyList = message({
  keys: repeated(apiKey),
});
export type ApiKeyList = Model<typeof apiKeyList>;

export const apiKeyRef = message({
  id: safeInt,
});
export type ApiKeyRef = Model<typeof apiKeyRef>;

export const credential = message({
  id: text,
  projectId: text,
  branchId: text,
  name: text,
  login: text,
  roleName: text,
  access: text,
  ttlSeconds: number,
  expiresUnixMs: safeInt,
  revokedUnixMs: safeInt,
  createdUnixMs: safeInt,
});
export type CredentialModel = Model<typeof credential>;

export const createCredentialRequest = message({
  projectId: text,
  branchId: text,
  name: text,
  roleName: text,
  access: text,
  ttlSeconds: number,
});
export type CreateCredentialRequest = Model<typeof createCredentialRequest>;

export const credentialCreated = message({
  credential: credential,
  password: text,
  connectionUri: text,
});
export type CredentialCreated = Model<typeof credentialCreated>;

export const listCredentialsRequest = message({
  projectId: text,
  branchId: text,
});
export type ListCredentialsRequest = Model<typeof listCredentialsRequest>;

export const credentialList = message({
  credentials: repeated(credential),
});
export type CredentialList = Model<typeof credentialList>;

export const credentialRef = message({
  projectId: text,
  branchId: text,
  credentialId: text,
});
export type CredentialRef = Model<typeof credentialRef>;
