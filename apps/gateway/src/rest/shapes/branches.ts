import type { BranchChanged, BranchCreated, BranchModel, ConnectionUriModel } from '@coppice/contracts';
import type { z } from 'zod';
import { lsnText, time, timestamp } from '../formats';
import type * as schemas from '../schemas/branches';
import { SOURCE } from './constants';
import { endpointJson } from './endpoints';
import { operationJson } from './operations';
import { databaseJson, roleJson } from './roles-and-databases';

type BranchJson = z.infer<typeof schemas.branch>;

export function branchJson(b: BranchModel): BranchJson {
  const used = b.consumption;
  return {
    id: b.id,
    project_id: b.projectId,
    parent_id: b.parentId || undefined,
    parent_lsn: lsnText(b.parentLsn),
    parent_timestamp: timestamp(b.parentTimestampUnixMs),
    name: b.name,
    current_state: b.state,
    state_changed_at: time(b.createdUnixMs),
    logical_size: used?.logicalBytes || undefined,
    creation_source: SOURCE,
    primary: b.isDefault,
    default: b.isDefault,
    protected: b.isProtected,
    cpu_used_sec: Math.round(used?.computeUnitSeconds ?? 0),
    compute_time_seconds: Math.round(used?.computeUnitSeconds ?? 0),
    active_time_seconds: Math.round(used?.activeSeconds ?? 0),
    written_data_bytes: used?.writtenBytes ?? 0,
    data_transfer_bytes: used?.transferredBytes ?? 0,
    created_at: time(b.createdUnixMs),
    updated_at: time(b.updatedUnixMs),
    ...lifetimeJson(b),
    last_reset_at: timestamp(b.lastResetUnixMs),
    created_by: b.createdBy === '' ? undefined : { name: b.createdBy },
    task_id: b.taskId || undefined,
    init_source: b.parentId === '' ? undefined : 'parent-data',
    restore_status: b.restoreStatus || undefined,
    restored_from: b.restoredFrom || undefined,
    restored_as: b.restoredAs || undefined,
    recovery: recoveryJson(b),
  };
}

function lifetimeJson({ ttl }: BranchModel): Partial<BranchJson> {
  if (!ttl || ttl.kind === '') return {};
  return {
    expires_at: timestamp(ttl.expiresUnixMs),
    ttl_interval_seconds: ttl.seconds || undefined,
    ttl: { kind: ttl.kind, seconds: ttl.seconds || undefined, subtree: ttl.subtree },
  };
}

function recoveryJson(b: BranchModel): BranchJson['recovery'] {
  if (b.deletedUnixMs === 0) return undefined;
  return {
    deleted_at: time(b.deletedUnixMs),
    recoverable_until: time(b.recoverableUntilUnixMs),
    deletion_method: b.deletionMethod,
  };
}

export function annotationJson(b: BranchModel): z.infer<typeof schemas.annotation> {
  return { object: { type: 'console/branch', id: b.id }, value: b.annotations };
}

export function branchChangedJson({ branch, operations }: BranchChanged) {
  return { branch: branchJson(branch), operations: operations.map(operationJson) };
}

function connectionJson(c: ConnectionUriModel): z.infer<typeof schemas.connectionDetails> {
  return {
    connection_uri: c.uri,
    connection_parameters: {
      database: c.database,
      password: c.password,
      role: c.role,
      host: c.host,
      pooler_host: c.poolerHost,
    },
  };
}

/** What creating a branch, or a project with its first branch, gives. */
export function branchPartsJson(made: BranchCreated) {
  return {
    branch: branchJson(made.branch),
    endpoints: made.endpoints.map(endpointJson),
    operations: made.operations.map(operationJson),
    roles: made.roles.map(roleJson),
    databases: made.databases.map(databaseJson),
    connection_uris: made.connectionUris.map(connectionJson),
  };
}
