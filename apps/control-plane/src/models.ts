/** Rows of the metadata as models of the public contract. */
import type { BranchRow, DatabaseRow, EndpointRow, OperationRow, ProjectRow } from '@coppice/catalog';
import type {
  BranchModel,
  Consumption,
  DatabaseModel,
  EndpointModel,
  OperationModel,
  ProjectModel,
} from '@coppice/contracts';
import { endpointHost, type ProxyAddress } from './credentials/connection-uri';

/** Of what was just made. */
export const NOTHING_USED: Consumption = {
  computeUnitSeconds: 0,
  activeSeconds: 0,
  writtenBytes: 0,
  transferredBytes: 0,
  logicalBytes: 0,
  ownBytes: 0,
  logicalByteHours: 0,
  ownByteHours: 0,
};

export function projectModel(row: ProjectRow): ProjectModel {
  return {
    id: row.id,
    name: row.name,
    pgVersion: row.pg_version,
    ownerId: row.agent_id,
    defaultBranchId: row.default_branch_id,
    createdUnixMs: row.created_at,
    updatedUnixMs: row.updated_at,
    historyRetentionSeconds: row.history_retention_seconds,
    suspendTimeoutSeconds: row.suspend_timeout_seconds,
    deletedUnixMs: row.deleted_at ?? 0,
    recoverableUntilUnixMs: row.recoverable_until ?? 0,
    computeLastActiveUnixMs: 0,
    settings: {
      quotaActiveSeconds: row.settings.activeSeconds ?? 0,
      quotaComputeSeconds: row.settings.computeSeconds ?? 0,
      quotaWrittenBytes: row.settings.writtenBytes ?? 0,
      quotaTransferredBytes: row.settings.transferredBytes ?? 0,
      quotaLogicalSizeBytes: row.settings.logicalSizeBytes ?? 0,
    },
    minComputeUnits: row.min_compute_units,
    maxComputeUnits: row.max_compute_units,
  };
}

export function branchModel(row: BranchRow): BranchModel {
  return {
    id: row.id,
    projectId: row.project_id,
    name: row.name,
    parentId: row.parent_id ?? '',
    parentLsn: row.parent_lsn ?? undefined,
    parentTimestampUnixMs: row.parent_timestamp ?? 0,
    isDefault: row.is_default,
    isProtected: row.is_protected,
    state: 'ready',
    timelineId: row.timeline_id,
    createdUnixMs: row.created_at,
    updatedUnixMs: row.updated_at,
    ttl:
      row.ttl_kind === null || row.expires_at === null
        ? undefined
        : {
            kind: row.ttl_kind,
            seconds: row.ttl_seconds ?? 0,
            expiresUnixMs: row.expires_at,
            subtree: row.ttl_subtree,
          },
    restoredFrom: row.restored_from ?? '',
    restoredAs: row.restored_as ?? '',
    lastResetUnixMs: row.last_reset_at ?? 0,
    deletedUnixMs: row.deleted_at ?? 0,
    recoverableUntilUnixMs: row.recoverable_until ?? 0,
    deletionMethod: row.deletion_method ?? '',
    taskId: row.task_id ?? '',
    annotations: row.annotations,
    restoreStatus: row.restore_status ?? '',
    createdBy: row.created_by ?? '',
  };
}

export function endpointModel(row: EndpointRow, proxy: ProxyAddress): EndpointModel {
  return {
    id: row.id,
    projectId: row.project_id,
    branchId: row.branch_id,
    type: row.type,
    host: endpointHost(proxy, row.id),
    state: row.compute_state === 'starting' ? 'init' : row.compute_state === null ? 'idle' : 'active',
    suspendTimeoutSeconds: row.suspend_timeout_seconds,
    minComputeUnits: row.min_compute_units,
    maxComputeUnits: row.max_compute_units,
    lastActiveUnixMs: row.compute_last_active_at ?? row.last_active_at ?? 0,
    startedUnixMs: row.started_at ?? 0,
    suspendedUnixMs: row.suspended_at ?? 0,
    createdUnixMs: row.created_at,
    updatedUnixMs: row.updated_at,
    disabled: row.disabled,
    name: row.name,
  };
}

export function databaseModel(row: DatabaseRow): DatabaseModel {
  return {
    id: row.id,
    branchId: row.branch_id,
    name: row.name,
    ownerName: row.owner_name,
    createdUnixMs: row.created_at,
    updatedUnixMs: row.updated_at,
  };
}

export function operationModel(row: OperationRow): OperationModel {
  return {
    id: row.id,
    projectId: row.project_id ?? '',
    branchId: row.branch_id ?? '',
    endpointId: row.endpoint_id ?? '',
    action: row.action,
    status: row.status,
    error: row.error ?? '',
    failures: row.failures,
    createdUnixMs: row.created_at,
    updatedUnixMs: row.updated_at,
    durationMs: row.duration_ms,
  };
}
