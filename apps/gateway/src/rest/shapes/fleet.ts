import type { AgentModel, AuditEntryModel, CredentialModel } from '@coppice/contracts';
import { time, timestamp } from '../formats';
import type { AgentJson, AuditEntryJson, CredentialJson } from '../schemas/fleet';

export function agentJson({ id, name, quotas, usage, createdUnixMs, updatedUnixMs }: AgentModel): AgentJson {
  return {
    id,
    name,
    quotas: {
      projects: quotas.projects ?? null,
      branches: quotas.branches ?? null,
      computes: quotas.computes ?? null,
      storage_bytes: quotas.storageBytes ?? null,
      compute_seconds: quotas.computeSeconds ?? null,
      requests_per_second: quotas.requestsPerSecond ?? null,
    },
    usage: {
      projects: usage.projects,
      branches: usage.branches,
      computes: usage.computes,
      storage_bytes: usage.storageBytes,
      compute_seconds: usage.computeSeconds,
    },
    created_at: time(createdUnixMs),
    updated_at: time(updatedUnixMs),
  };
}

export function credentialJson(c: CredentialModel): CredentialJson {
  return {
    id: c.id,
    project_id: c.projectId,
    branch_id: c.branchId,
    name: c.name,
    login: c.login,
    role_name: c.roleName,
    access: c.access,
    ttl_seconds: c.ttlSeconds,
    expires_at: timestamp(c.expiresUnixMs),
    revoked_at: timestamp(c.revokedUnixMs),
    created_at: time(c.createdUnixMs),
  };
}

export function auditEntryJson(e: AuditEntryModel): AuditEntryJson {
  return {
    id: e.id,
    at: time(e.atUnixMs),
    agent_id: e.agentId,
    api_key_id: e.keyId || undefined,
    task_id: e.taskId || undefined,
    action: e.action,
    project_id: e.projectId || undefined,
    branch_id: e.branchId || undefined,
    endpoint_id: e.endpointId || undefined,
    detail: e.detail === '' ? {} : (JSON.parse(e.detail) as unknown),
  };
}
