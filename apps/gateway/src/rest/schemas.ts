/**
 * Requests and responses of the REST surface. Requests are validated by these, and the OpenAPI document is generated from
 * them. Names of properties are Neon's; unknown ones are refused, because a misspelt `parent_lsn` must not fork the head.
 */
import { z } from 'zod';
import { parseTimestamp } from './formats';

/** NUL and lone surrogates. */
const UNSTORABLE = /[\u0000\p{Surrogate}]/u;
const text = (most: number, least = 0) =>
  z
    .string()
    .min(least)
    .max(most)
    .refine((s) => !UNSTORABLE.test(s), 'holds characters that cannot be stored');
const name = text(256, 1);
const pathId = z.string().max(60);
const integer = (least: number, most: number) => z.int().min(least).max(most);
/** Query parameters arrive as text. */
const queryInteger = (least: number, most: number) =>
  z
    .string()
    .regex(/^-?\d{1,10}$/, 'must be an integer')
    .transform(Number)
    .pipe(integer(least, most));
const lsn = z.string().regex(/^[a-fA-F0-9]{1,8}\/[a-fA-F0-9]{1,8}$/, 'must be an LSN such as 16/B374D848');
const dateTime = z
  .string()
  .max(64)
  .refine((s) => parseTimestamp(s) !== undefined, 'must be an RFC 3339 time such as 2026-01-31T12:00:00Z')
  .meta({ format: 'date-time' });
const computeUnits = z.number().min(0.25).max(16);
const suspendTimeout = integer(-1, 604_800);
const anything = z.record(z.string(), z.unknown());

export const projectPath = z.object({ project_id: pathId });
export const branchPath = projectPath.extend({ branch_id: pathId });
export const endpointPath = projectPath.extend({ endpoint_id: pathId });
export const operationPath = projectPath.extend({ operation_id: pathId });

export const projectsQuery = z.strictObject({
  cursor: text(1024).optional(),
  limit: queryInteger(1, 400).optional(),
  search: text(256).optional(),
  org_id: text(60).optional(),
  timeout: queryInteger(100, 30_000).optional(),
  recoverable: z.enum(['true', 'false']).optional(),
});
export const branchesQuery = z.strictObject({
  search: text(256).optional(),
  sort_by: z.enum(['name', 'created_at', 'updated_at']).optional(),
  sort_order: z.enum(['asc', 'desc']).optional(),
  cursor: text(1024).optional(),
  limit: queryInteger(1, 10_000).optional(),
  include_deleted: z.enum(['true', 'false']).optional(),
});
export const operationsQuery = z.strictObject({
  cursor: text(1024).optional(),
  limit: queryInteger(1, 1000).optional(),
});
export const deleteBranchQuery = z.strictObject({ hard_delete: z.enum(['true', 'false']).optional() });
export const connectionUriQuery = z.strictObject({
  branch_id: pathId.optional(),
  endpoint_id: pathId.optional(),
  database_name: text(255, 1),
  role_name: text(255, 1),
  pooled: z.enum(['true', 'false']).optional(),
});

const endpointOptions = z.strictObject({
  type: z.enum(['read_write', 'read_only']),
  settings: anything.optional(),
  autoscaling_limit_min_cu: computeUnits.optional(),
  autoscaling_limit_max_cu: computeUnits.optional(),
  provisioner: text(60).optional(),
  suspend_timeout_seconds: suspendTimeout.optional(),
});
export const createProjectBody = z.strictObject({
  project: z.strictObject({
    name: name.optional(),
    branch: z
      .strictObject({
        name: name.optional(),
        role_name: text(63, 1).optional(),
        database_name: text(63, 1).optional(),
        annotations: anything.optional(),
      })
      .optional(),
    pg_version: z.int().min(14).max(18).optional(),
    history_retention_seconds: integer(0, 2_592_000).optional(),
    default_endpoint_settings: z
      .strictObject({
        pg_settings: anything.optional(),
        pgbouncer_settings: anything.optional(),
        autoscaling_limit_min_cu: computeUnits.optional(),
        autoscaling_limit_max_cu: computeUnits.optional(),
        suspend_timeout_seconds: suspendTimeout.optional(),
      })
      .optional(),
    autoscaling_limit_min_cu: computeUnits.optional(),
    autoscaling_limit_max_cu: computeUnits.optional(),
    settings: anything.optional(),
    provisioner: text(60).optional(),
    region_id: text(60).optional(),
    store_passwords: z.boolean().optional(),
    org_id: text(60).optional(),
  }),
});
export type CreateProjectBody = z.infer<typeof createProjectBody>;
export const createBranchBody = z.strictObject({
  branch: z
    .strictObject({
      parent_id: pathId.optional(),
      name: name.optional(),
      parent_lsn: lsn.optional(),
      parent_timestamp: dateTime.optional(),
      protected: z.boolean().optional(),
      archived: z.boolean().optional(),
      init_source: text(60).optional(),
      expires_at: dateTime.nullable().optional(),
    })
    .optional(),
  endpoints: z.array(endpointOptions).max(10).optional(),
  annotation_value: anything.optional(),
});
export type CreateBranchBody = z.infer<typeof createBranchBody>;

const when = z.string().meta({ format: 'date-time' });
const count = z.int();
export const errorResponse = z.object({ request_id: z.string(), code: z.string(), message: z.string() });
export const operation = z.object({
  id: z.string(),
  project_id: z.string(),
  branch_id: z.string().optional(),
  endpoint_id: z.string().optional(),
  action: z.string(),
  status: z.string(),
  error: z.string().optional(),
  failures_count: count,
  created_at: when,
  updated_at: when,
  total_duration_ms: count,
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
  owner_id: z.string(),
  history_retention_seconds: count,
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
export const branch = z.object({
  id: z.string(),
  project_id: z.string(),
  parent_id: z.string().optional(),
  parent_lsn: z.string().optional(),
  parent_timestamp: when.optional(),
  name: z.string(),
  current_state: z.string(),
  state_changed_at: when,
  logical_size: count.optional(),
  creation_source: z.string(),
  primary: z.boolean(),
  default: z.boolean(),
  protected: z.boolean(),
  cpu_used_sec: count,
  compute_time_seconds: count,
  active_time_seconds: count,
  written_data_bytes: count,
  data_transfer_bytes: count,
  created_at: when,
  updated_at: when,
  init_source: z.string(),
});
export const endpoint = z.object({
  host: z.string(),
  id: z.string(),
  project_id: z.string(),
  branch_id: z.string(),
  autoscaling_limit_min_cu: z.number(),
  autoscaling_limit_max_cu: z.number(),
  region_id: z.string(),
  type: z.string(),
  current_state: z.string(),
  settings: anything,
  pooler_enabled: z.boolean(),
  pooler_mode: z.string(),
  disabled: z.boolean(),
  passwordless_access: z.boolean(),
  last_active: when.optional(),
  creation_source: z.string(),
  created_at: when,
  updated_at: when,
  started_at: when.optional(),
  suspended_at: when.optional(),
  proxy_host: z.string(),
  suspend_timeout_seconds: count,
  provisioner: z.string(),
});
export const role = z.object({
  branch_id: z.string(),
  name: z.string(),
  password: z.string().optional(),
  protected: z.boolean(),
  created_at: when,
  updated_at: when,
});
export const database = z.object({
  id: count,
  branch_id: z.string(),
  name: z.string(),
  owner_name: z.string(),
  created_at: when,
  updated_at: when,
});
export const connectionDetails = z.object({
  connection_uri: z.string(),
  connection_parameters: z.object({
    database: z.string(),
    password: z.string(),
    role: z.string(),
    host: z.string(),
    pooler_host: z.string(),
  }),
});
const operations = z.array(operation);
export const branchParts = {
  branch,
  endpoints: z.array(endpoint),
  operations,
  roles: z.array(role),
  databases: z.array(database),
  connection_uris: z.array(connectionDetails),
};
export const responses = {
  projectCreated: z.object({ project, ...branchParts }),
  project: z.object({ project }),
  projects: z.object({
    projects: z.array(projectListItem),
    pagination: z.object({ cursor: z.string() }).optional(),
    applications: anything,
    integrations: anything,
  }),
  branchCreated: z.object({ ...branchParts, connection_uris: branchParts.connection_uris.optional() }),
  branches: z.object({
    branches: z.array(branch),
    annotations: anything,
    pagination: z.object({ next: z.string().optional(), sort_by: z.string(), sort_order: z.string() }),
  }),
  branch: z.object({ branch, annotation: anything }),
  branchOperations: z.object({ branch, operations }),
  endpoints: z.object({ endpoints: z.array(endpoint) }),
  endpoint: z.object({ endpoint }),
  endpointOperations: z.object({ endpoint, operations }),
  connectionUri: z.object({ uri: z.string() }),
  operation: z.object({ operation }),
  operations: z.object({ operations, pagination: z.object({ cursor: z.string() }).optional() }),
};
