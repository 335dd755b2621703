/** Models of the contract in Neon's shapes. What is not measured is 0, what is not set is left out. */
import type {
  BranchModel,
  ConnectionUriModel,
  DatabaseModel,
  EndpointModel,
  OperationModel,
  ProjectModel,
  RoleModel,
} from '@coppice/contracts';
import { type BranchCreated } from '@coppice/contracts';
import type { z } from 'zod';
import { lsnText, time, timestamp } from './formats';
import type * as schemas from './schemas';

type Json<S extends z.ZodType> = z.infer<S>;

/** The one region there is. */
export const REGION = 'coppice-local';
const PLATFORM = 'coppice';
const PROVISIONER = 'k8s-neonvm';
const SOURCE = 'console';

function projectCommon(p: ProjectModel): Omit<Json<typeof schemas.projectListItem>, 'active_time'> {
  return {
    id: p.id,
    platform_id: PLATFORM,
    region_id: REGION,
    name: p.name,
    provisioner: PROVISIONER,
    default_endpoint_settings: { suspend_timeout_seconds: p.suspendTimeoutSeconds },
    settings: {},
    pg_version: p.pgVersion,
    proxy_host: '',
    branch_logical_size_limit: 0,
    branch_logical_size_limit_bytes: 0,
    store_passwords: true,
    cpu_used_sec: 0,
    creation_source: SOURCE,
    created_at: time(p.createdUnixMs),
    updated_at: time(p.updatedUnixMs),
    owner_id: p.ownerId,
    history_retention_seconds: p.historyRetentionSeconds,
  };
}

export function projectListItemJson(p: ProjectModel): Json<typeof schemas.projectListItem> {
  return { ...projectCommon(p), active_time: 0 };
}

export function projectJson(p: ProjectModel): Json<typeof schemas.project> {
  const created = new Date(p.createdUnixMs);
  const month = (n: number): number => Date.UTC(created.getUTCFullYear(), created.getUTCMonth() + n, 1);
  return {
    ...projectCommon(p),
    data_storage_bytes_hour: 0,
    data_transfer_bytes: 0,
    written_data_bytes: 0,
    compute_time_seconds: 0,
    active_time_seconds: 0,
    consumption_period_start: time(month(0)),
    consumption_period_end: time(month(1)),
  };
}

export function branchJson(b: BranchModel): Json<typeof schemas.branch> {
  return {
    id: b.id,
    project_id: b.projectId,
    parent_id: b.parentId || undefined,
    parent_lsn: lsnText(b.parentLsn),
    parent_timestamp: timestamp(b.parentTimestampUnixMs),
    name: b.name,
    current_state: b.state,
    state_changed_at: time(b.createdUnixMs),
    logical_size: b.logicalSizeBytes || undefined,
    creation_source: SOURCE,
    primary: b.isDefault,
    default: b.isDefault,
    protected: b.isProtected,
    cpu_used_sec: 0,
    compute_time_seconds: 0,
    active_time_seconds: 0,
    written_data_bytes: b.writtenBytes,
    data_transfer_bytes: 0,
    created_at: time(b.createdUnixMs),
    updated_at: time(b.updatedUnixMs),
    init_source: 'parent-data',
  };
}

export function endpointJson(e: EndpointModel): Json<typeof schemas.endpoint> {
  return {
    host: e.host,
    id: e.id,
    project_id: e.projectId,
    branch_id: e.branchId,
    autoscaling_limit_min_cu: e.minComputeUnits,
    autoscaling_limit_max_cu: e.maxComputeUnits,
    region_id: REGION,
    type: e.type,
    current_state: e.state,
    settings: { pg_settings: {} },
    pooler_enabled: false,
    pooler_mode: 'transaction',
    disabled: e.disabled,
    passwordless_access: false,
    last_active: timestamp(e.lastActiveUnixMs),
    creation_source: SOURCE,
    created_at: time(e.createdUnixMs),
    updated_at: time(e.updatedUnixMs),
    started_at: timestamp(e.startedUnixMs),
    suspended_at: timestamp(e.suspendedUnixMs),
    proxy_host: e.host.startsWith(`${e.id}.`) ? e.host.slice(e.id.length + 1) : e.host,
    suspend_timeout_seconds: e.suspendTimeoutSeconds,
    provisioner: PROVISIONER,
  };
}

export function operationJson(o: OperationModel): Json<typeof schemas.operation> {
  return {
    id: o.id,
    project_id: o.projectId,
    branch_id: o.branchId || undefined,
    endpoint_id: o.endpointId || undefined,
    action: o.action,
    status: o.status,
    error: o.error || undefined,
    failures_count: o.failures,
    created_at: time(o.createdUnixMs),
    updated_at: time(o.updatedUnixMs),
    total_duration_ms: o.durationMs,
  };
}

function roleJson(r: RoleModel): Json<typeof schemas.role> {
  return {
    branch_id: r.branchId,
    name: r.name,
    password: r.password || undefined,
    protected: r.isProtected,
    created_at: time(r.createdUnixMs),
    updated_at: time(r.updatedUnixMs),
  };
}

function databaseJson(d: DatabaseModel): Json<typeof schemas.database> {
  return {
    id: d.id,
    branch_id: d.branchId,
    name: d.name,
    owner_name: d.ownerName,
    created_at: time(d.createdUnixMs),
    updated_at: time(d.updatedUnixMs),
  };
}

function connectionJson(c: ConnectionUriModel): Json<typeof schemas.connectionDetails> {
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
