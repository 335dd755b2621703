import { z } from 'zod';
import { operations } from './operations';
import {
  anything,
  computeUnits,
  count,
  name,
  pathId,
  projectPath,
  queryBoolean,
  suspendTimeout,
  text,
  when,
} from './primitives';

export const endpointPath = projectPath.extend({ endpoint_id: pathId });

const type = z.enum(['read_write', 'read_only']);
const sizes = {
  autoscaling_limit_min_cu: computeUnits.optional(),
  autoscaling_limit_max_cu: computeUnits.optional(),
  suspend_timeout_seconds: suspendTimeout.optional(),
};
/** Accepted because clients send them; refused when they ask for something that is not offered. */
const unoffered = {
  settings: anything.optional(),
  provisioner: text(60).optional(),
  pooler_enabled: z.boolean().optional(),
  pooler_mode: text(60).optional(),
  passwordless_access: z.boolean().optional(),
};

/** In the body of a new branch. */
export const endpointOptions = z.strictObject({
  type,
  settings: anything.optional(),
  provisioner: text(60).optional(),
  ...sizes,
});

export const createEndpointBody = z.strictObject({
  endpoint: z.strictObject({
    branch_id: pathId,
    type,
    name: name.max(64).optional(),
    disabled: z.boolean().optional(),
    region_id: text(60).optional(),
    ...sizes,
    ...unoffered,
  }),
});

export const updateEndpointBody = z.strictObject({
  endpoint: z.strictObject({
    branch_id: pathId.optional(),
    name: name.max(64).optional(),
    disabled: z.boolean().optional(),
    ...sizes,
    ...unoffered,
  }),
});

export const connectionUriQuery = z.strictObject({
  branch_id: pathId.optional(),
  endpoint_id: pathId.optional(),
  database_name: text(255, 1),
  role_name: text(255, 1),
  pooled: queryBoolean.optional(),
});

export const endpoint = z.object({
  host: z.string(),
  id: z.string(),
  name: z.string().optional(),
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

/** Something that an endpoint was used for; never the text of a query. */
const activityReason = z.object({
  /** connection, session, query, transaction, prepared-transaction, replication or autovacuum. */
  kind: z.string(),
  since: when.optional(),
  pid: count.optional(),
  name: z.string().optional(),
  database: z.string().optional(),
});
export const endpointActivity = z.object({
  endpoint_id: z.string(),
  running: z.boolean(),
  last_active: when.optional(),
  kept_awake_by: z.array(activityReason),
  seen_at: when.optional(),
  suspends_at: when.optional(),
});
export const endpointActivityResponse = z.object({ activity: endpointActivity });

export const endpointResponse = z.object({ endpoint });
export const endpointsResponse = z.object({ endpoints: z.array(endpoint) });
export const endpointOperations = z.object({ endpoint, operations });
export const connectionUri = z.object({ uri: z.string() });
