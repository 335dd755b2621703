/** A branch about to be inserted, and the answer that tells of it, made from the same values. */
import type { BranchRow, EndpointRow, InsertedBranch, NewBranch, NewEndpointRow } from '@coppice/catalog';
import type { BranchCreated, NewEndpoint, RoleModel } from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';
import { connectionUri, type ProxyAddress } from '../credentials/connection-uri';
import type { Passwords } from '../credentials/passwords';
import { NOTHING_USED, branchModel, endpointModel, operationModel } from '../models';
import type { Identifiers } from '../naming/identifiers';
import { checkComputeUnits, checkSuspendTimeout } from '../naming/limits';

const MAX_ENDPOINTS = 1;
const FIRST_VERSION = 1;

/** Checked endpoints with ids. A branch has one read-write endpoint at most. */
export function newEndpoints(requested: readonly NewEndpoint[], identifiers: Identifiers): NewEndpointRow[] {
  if (requested.length > MAX_ENDPOINTS) {
    throw new CoppiceError('Invalid', 'too-many-endpoints', `${requested.length} endpoints are asked for`, {
      remedy: 'Ask for one read_write endpoint per branch.',
    });
  }
  return requested.map((e) => {
    if (e.type !== 'read_write') {
      throw new CoppiceError(
        'Invalid',
        'unsupported-endpoint-type',
        `endpoints of type ${JSON.stringify(e.type.slice(0, 40))} are not offered`,
        { remedy: 'Use read_write.' },
      );
    }
    const units = checkComputeUnits(e.minComputeUnits, e.maxComputeUnits);
    return {
      id: identifiers.endpoint(),
      type: e.type,
      suspendTimeoutSeconds: checkSuspendTimeout(e.suspendTimeoutSeconds),
      minComputeUnits: units.min,
      maxComputeUnits: units.max,
    };
  });
}

/** The answer as it can be kept: without roles, databases and connection strings, which `withLogins` adds. */
export function branchCreated(b: NewBranch, proxy: ProxyAddress): BranchCreated {
  const at = b.now.getTime();
  const row: BranchRow = {
    id: b.id,
    project_id: b.projectId,
    name: b.name,
    parent_id: b.parentId ?? null,
    parent_lsn: b.parentLsn ?? null,
    parent_timestamp: b.parentTimestamp?.getTime() ?? null,
    timeline_id: b.timeline.id,
    is_default: b.isDefault,
    is_protected: b.isProtected,
    setup_pending: b.setupPending,
    ttl_kind: b.ttl?.kind ?? null,
    ttl_seconds: b.ttl?.seconds ?? null,
    ttl_subtree: b.ttl?.subtree ?? false,
    expires_at: b.ttl?.expiresAt.getTime() ?? null,
    restored_from: null,
    restored_as: null,
    restore_status: null,
    restore_target: null,
    logins_pending: b.loginsPending ?? false,
    last_reset_at: null,
    task_id: b.audit.taskId ?? null,
    created_by: b.audit.agentId,
    annotations: b.annotations,
    created_at: at,
    updated_at: at,
    deleted_at: null,
    deletion_id: null,
    deletion_method: null,
    recoverable_until: null,
  };
  const endpoints = b.endpoints.map(
    (e): EndpointRow => ({
      id: e.id,
      project_id: b.projectId,
      branch_id: b.id,
      type: e.type,
      suspend_timeout_seconds: e.suspendTimeoutSeconds,
      min_compute_units: e.minComputeUnits,
      max_compute_units: e.maxComputeUnits,
      disabled: false,
      fencing_token: 0,
      last_active_at: null,
      started_at: null,
      suspended_at: null,
      name: '',
      created_at: at,
      updated_at: at,
      deleted_at: null,
      deletion_id: null,
      compute_state: null,
      compute_last_active_at: null,
    }),
  );
  const operations = b.operations.map((o) => ({
    id: o.id,
    project_id: b.projectId,
    branch_id: b.id,
    endpoint_id: o.endpointId ?? null,
    action: o.action,
    status: o.status,
    error: null,
    failures: 0,
    duration_ms: o.durationMs,
    detail: null,
    claimed_until: null,
    created_at: at,
    updated_at: at,
  }));
  return {
    branch: { ...branchModel(row), consumption: NOTHING_USED },
    endpoints: endpoints.map((e) => endpointModel(e, proxy)),
    operations: operations.map(operationModel),
    roles: [],
    databases: [],
    connectionUris: [],
  };
}

/** Adds the roles with their passwords, the databases, and one connection string per endpoint and owned database. */
export function withLogins<T extends BranchCreated>(
  created: T,
  logins: InsertedBranch,
  passwords: Passwords,
  proxy: ProxyAddress,
): T {
  const { id: branchId, createdUnixMs } = created.branch;
  const times = { createdUnixMs, updatedUnixMs: createdUnixMs };
  const roles = logins.roles.map(
    (name): RoleModel => ({
      branchId,
      name,
      password: passwords.derive({ branchId: branchId as never, role: name, version: FIRST_VERSION }),
      isProtected: false,
      ...times,
    }),
  );
  const passwordOf = new Map(roles.map((r) => [r.name, r.password]));
  const connectionUris = created.endpoints.flatMap((e) =>
    logins.databases.flatMap((d) => {
      const password = passwordOf.get(d.ownerName);
      return password === undefined
        ? []
        : [
            connectionUri(proxy, {
              endpoint: e.id as never,
              database: d.name,
              role: d.ownerName,
              password,
              pooled: false,
            }),
          ];
    }),
  );
  const databases = logins.databases.map((d) => ({
    id: d.id,
    branchId,
    name: d.name,
    ownerName: d.ownerName,
    ...times,
  }));
  return { ...created, roles, databases, connectionUris };
}
