import { z } from 'zod';
import { endpoint, endpointOptions } from './endpoints';
import { operations } from './operations';
import {
  branchPath,
  count,
  cursor,
  dateTime,
  integer,
  lsn,
  name,
  pathId,
  queryBoolean,
  queryInteger,
  text,
  textMap,
  when,
} from './primitives';
import { database, role } from './roles-and-databases';

export { branchPath };

const MAX_TTL_SECONDS = 10 * 366 * 86_400;

const ttlChoices = { subtree: z.boolean().optional(), default_branch: z.boolean().optional() };
/** Beside Neon's `expires_at`, which is the `absolute` kind. */
const ttl = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('absolute'), expires_at: dateTime, ...ttlChoices }),
  z.strictObject({ kind: z.literal('idle'), seconds: integer(1, MAX_TTL_SECONDS), ...ttlChoices }),
  z.strictObject({ kind: z.literal('lease'), seconds: integer(1, MAX_TTL_SECONDS), ...ttlChoices }),
]);
export type TtlBody = z.infer<typeof ttl>;

const lifetime = { expires_at: dateTime.nullable().optional(), ttl: ttl.nullable().optional() };

export const createBranchBody = z.strictObject({
  branch: z
    .strictObject({
      parent_id: pathId.optional(),
      name: name.optional(),
      parent_lsn: lsn.optional(),
      parent_timestamp: dateTime.optional(),
      parent_checkpoint: text(256).optional(),
      protected: z.boolean().optional(),
      archived: z.boolean().optional(),
      init_source: text(60).optional(),
      ...lifetime,
    })
    .optional(),
  endpoints: z.array(endpointOptions).max(10).optional(),
  annotation_value: textMap.optional(),
});

export const updateBranchBody = z.strictObject({
  branch: z.strictObject({
    name: name.optional(),
    protected: z.boolean().optional(),
    annotations: textMap.optional(),
    ...lifetime,
  }),
});

export const branchesQuery = z.strictObject({
  search: text(256).optional(),
  sort_by: z.enum(['name', 'created_at', 'updated_at']).optional(),
  sort_order: z.enum(['asc', 'desc']).optional(),
  cursor: cursor.optional(),
  limit: queryInteger(1, 10_000).optional(),
  include_deleted: queryBoolean.optional(),
});
export const countQuery = z.strictObject({ search: text(256).optional() });
export const deleteBranchQuery = z.strictObject({
  hard_delete: queryBoolean.optional(),
  children: z.enum(['refuse', 'delete', 'keep']).optional(),
  default_branch: queryBoolean.optional(),
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
  expires_at: when.optional(),
  ttl_interval_seconds: count.optional(),
  ttl: z.object({ kind: z.string(), seconds: count.optional(), subtree: z.boolean() }).optional(),
  last_reset_at: when.optional(),
  created_by: z.object({ name: z.string() }).optional(),
  task_id: z.string().optional(),
  init_source: z.string().optional(),
  restore_status: z.string().optional(),
  restored_from: z.string().optional(),
  restored_as: z.string().optional(),
  recovery: z.object({ deleted_at: when, recoverable_until: when, deletion_method: z.string() }).optional(),
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

export const branchParts = {
  branch,
  endpoints: z.array(endpoint),
  operations,
  roles: z.array(role),
  databases: z.array(database),
  connection_uris: z.array(connectionDetails),
};

export const annotation = z.object({
  object: z.object({ type: z.string(), id: z.string() }),
  value: z.record(z.string(), z.string()),
});

export const branchCreated = z.object({
  ...branchParts,
  connection_uris: branchParts.connection_uris.optional(),
});
export const branchesResponse = z.object({
  branches: z.array(branch),
  annotations: z.record(z.string(), annotation),
  pagination: z.object({ next: z.string().optional(), sort_by: z.string(), sort_order: z.string() }),
});
export const branchResponse = z.object({ branch, annotation });
export const branchOperations = z.object({ branch, operations });
export const branchCount = z.object({ count });
export const branchRecovered = z.object({
  branch,
  endpoints: z.array(endpoint),
  recovered_with_it: z.array(branch),
});
