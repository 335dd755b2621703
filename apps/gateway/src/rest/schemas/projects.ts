import { z } from 'zod';
import { branch, branchParts } from './branches';
import {
  anything,
  computeUnits,
  count,
  cursor,
  identifier,
  integer,
  name,
  pagination,
  queryBoolean,
  queryInteger,
  suspendTimeout,
  text,
  textMap,
  when,
} from './primitives';

const list = {
  cursor: cursor.optional(),
  limit: queryInteger(1, 400).optional(),
  search: text(256).optional(),
  timeout: queryInteger(100, 30_000).optional(),
};
export const projectsQuery = z.strictObject({
  ...list,
  org_id: text(60).optional(),
  recoverable: queryBoolean.optional(),
});
export const sharedProjectsQuery = z.strictObject(list);
export const deleteProjectQuery = z.strictObject({ hard_delete: queryBoolean.optional() });

const most = z.int().min(0).max(Number.MAX_SAFE_INTEGER).nullable().optional();
/** `quota` is offered; of the rest only what asks for nothing. */
const settings = z.strictObject({
  quota: z
    .strictObject({
      active_time_seconds: most,
      compute_time_seconds: most,
      written_data_bytes: most,
      data_transfer_bytes: most,
      logical_size_bytes: most,
    })
    .optional(),
  allowed_ips: anything.optional(),
  enable_logical_replication: z.boolean().optional(),
  maintenance_window: anything.optional(),
  block_public_connections: z.boolean().optional(),
  block_vpc_connections: z.boolean().optional(),
  audit_log_level: text(60).optional(),
  hipaa: z.boolean().optional(),
  preload_libraries: anything.optional(),
});
export type SettingsBody = z.infer<typeof settings>;

const endpointDefaults = z.strictObject({
  pg_settings: anything.optional(),
  pgbouncer_settings: anything.optional(),
  autoscaling_limit_min_cu: computeUnits.optional(),
  autoscaling_limit_max_cu: computeUnits.optional(),
  suspend_timeout_seconds: suspendTimeout.optional(),
});
const retention = integer(0, 2_592_000);

export const createProjectBody = z.strictObject({
  project: z.strictObject({
    name: name.optional(),
    branch: z
      .strictObject({
        name: name.optional(),
        role_name: identifier.optional(),
        database_name: identifier.optional(),
        annotations: textMap.optional(),
      })
      .optional(),
    pg_version: integer(14, 18).optional(),
    history_retention_seconds: retention.optional(),
    default_endpoint_settings: endpointDefaults.optional(),
    autoscaling_limit_min_cu: computeUnits.optional(),
    autoscaling_limit_max_cu: computeUnits.optional(),
    settings: settings.optional(),
    provisioner: text(60).optional(),
    region_id: text(60).optional(),
    store_passwords: z.boolean().optional(),
    org_id: text(60).optional(),
    agent_id: text(60).optional(),
  }),
});

export const updateProjectBody = z.strictObject({
  project: z.strictObject({
    name: name.optional(),
    history_retention_seconds: retention.optional(),
    default_endpoint_settings: endpointDefaults.optional(),
    settings: settings.optional(),
  }),
});

export const projectListItem = z.object({
  id: z.string(),
  platform_id: z.string(),
  region_id: z.string(),
  name: z.string(),
  provisioner: z.string(),
  default_endpoint_settings: anything,
  settings: anything,
  pg_version: count,
  proxy_host: z.string(),
  branch_logical_size_limit: count,
  branch_logical_size_limit_bytes: count,
  store_passwords: z.boolean(),
  active_time: count,
  cpu_used_sec: count,
  creation_source: z.string(),
  created_at: when,
  updated_at: when,
  synthetic_storage_size: count,
  quota_reset_at: when,
  owner_id: z.string(),
  compute_last_active_at: when.optional(),
  org_id: z.string(),
  history_retention_seconds: count,
  deleted_at: when.optional(),
  recoverable_until: when.optional(),
  default_branch_id: z.string().optional(),
});

export const project = projectListItem.omit({ active_time: true }).extend({
  data_storage_bytes_hour: count,
  data_transfer_bytes: count,
  written_data_bytes: count,
  compute_time_seconds: count,
  active_time_seconds: count,
  consumption_period_start: when,
  consumption_period_end: when,
});

export const projectCreated = z.object({ project, ...branchParts });
export const projectResponse = z.object({ project });
export const projectOperations = z.object({ project, operations: branchParts.operations });
export const projectRecovered = z.object({ project, branches: z.array(branch) });
export const projectsResponse = z.object({
  projects: z.array(projectListItem),
  pagination,
  applications: anything,
  integrations: anything,
});
export const sharedProjects = z.object({ projects: z.array(projectListItem) });
export const projectPermissions = z.object({ project_permissions: z.array(anything) });
export const preloadLibraries = z.object({ libraries: z.array(anything) });
