/** Agents, credentials of branches, the audit log, and what the reaper is about to do. */
import { z } from 'zod';

import { keyCreated } from './accounts';
import {
  branchPath,
  count,
  cursor,
  identifier,
  integer as whole,
  name,
  page,
  pagination,
  pathId,
  queryBoolean,
  queryInteger,
  text,
  when,
} from './primitives';

export const agentPath = z.object({ agent_id: pathId });
export const agentsQuery = page(400).extend({ search: text(256).optional() });
export const deleteAgentQuery = z.strictObject({ with_projects: queryBoolean.optional() });

/** A limit; `null` stands for none. */
const limit = whole(0, Number.MAX_SAFE_INTEGER).nullable().optional();
const quotas = z.strictObject({
  projects: limit,
  branches: limit,
  computes: limit,
  storage_bytes: limit,
  compute_seconds: limit,
  requests_per_second: limit,
});
export type QuotasBody = z.infer<typeof quotas>;

export const createAgentBody = z.strictObject({
  agent: z.strictObject({ name: name.optional(), quotas: quotas.optional() }),
});
export const updateAgentBody = createAgentBody;

const amount = z.number().nullable();
const agent = z.object({
  id: z.string(),
  name: z.string(),
  quotas: z.object({
    projects: amount,
    branches: amount,
    computes: amount,
    storage_bytes: amount,
    compute_seconds: amount,
    requests_per_second: amount,
  }),
  usage: z.object({
    projects: count,
    branches: count,
    computes: count,
    storage_bytes: count,
    compute_seconds: z.number(),
  }),
  created_at: when,
  updated_at: when,
});
export type AgentJson = z.infer<typeof agent>;
export const agentCreated = z.object({ agent, api_key: keyCreated });
export const agentResponse = z.object({ agent });
export const agentsResponse = z.object({ agents: z.array(agent), pagination });

export const credentialPath = branchPath.extend({ credential_id: text(60) });
export const createCredentialBody = z.strictObject({
  credential: z
    .strictObject({
      name: name.optional(),
      role_name: identifier.optional(),
      access: z.enum(['read_write', 'read_only']).optional(),
      ttl_seconds: whole(1, 2_592_000).optional(),
    })
    .optional(),
});
const credential = z.object({
  id: z.string(),
  project_id: z.string(),
  branch_id: z.string(),
  name: z.string(),
  login: z.string(),
  role_name: z.string(),
  access: z.string(),
  ttl_seconds: count,
  expires_at: when.optional(),
  revoked_at: when.optional(),
  created_at: when,
});
export type CredentialJson = z.infer<typeof credential>;
export const credentialCreated = z.object({
  credential,
  password: z.string(),
  connection_uri: z.string().optional(),
});
export const credentialResponse = z.object({ credential });
export const credentialsResponse = z.object({ credentials: z.array(credential) });

export const auditQuery = z.strictObject({
  cursor: cursor.optional(),
  limit: queryInteger(1, 1000).optional(),
  project_id: pathId.optional(),
  branch_id: pathId.optional(),
  agent_id: pathId.optional(),
  task_id: text(255, 1).optional(),
});
const auditEntry = z.object({
  id: count,
  at: when,
  agent_id: z.string(),
  api_key_id: count.optional(),
  task_id: z.string().optional(),
  action: z.string(),
  project_id: z.string().optional(),
  branch_id: z.string().optional(),
  endpoint_id: z.string().optional(),
  detail: z.unknown(),
});
export type AuditEntryJson = z.infer<typeof auditEntry>;
export const auditLog = z.object({ entries: z.array(auditEntry), pagination });

export const reapQuery = z.strictObject({ limit: queryInteger(1, 1000).optional() });
export const reapPreview = z.object({
  candidates: z.array(
    z.object({
      kind: z.string(),
      id: z.string(),
      project_id: z.string().optional(),
      branch_id: z.string().optional(),
      due_at: when,
      why: z.string(),
    }),
  ),
});
