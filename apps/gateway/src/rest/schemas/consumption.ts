/** Accounts in Neon's shapes (periods of timeframes, v2 as named metrics) and plainly for agents and tasks. */
import { z } from 'zod';
import {
  count,
  cursor,
  dateTime,
  pagination,
  pathId,
  queryBoolean,
  queryInteger,
  queryList,
  text,
  when,
} from './primitives';

export const taskPath = z.object({ task_id: text(255, 1) });

const span = { from: dateTime, to: dateTime, granularity: z.enum(['hourly', 'daily', 'monthly']) };
export const spanQuery = z.strictObject(span);

export const V1_METRICS = [
  'active_time_seconds',
  'compute_time_seconds',
  'written_data_bytes',
  'synthetic_storage_size_bytes',
  'data_storage_bytes_hour',
  'logical_size_bytes',
  'logical_size_bytes_hour',
] as const;
/** Neon's names, and after them ours for what its names do not tell. */
export const V2_METRICS = [
  'compute_unit_seconds',
  'root_branch_bytes_month',
  'child_branch_bytes_month',
  'instant_restore_bytes_month',
  'public_network_transfer_bytes',
  'private_network_transfer_bytes',
  'extra_branches_month',
  'snapshot_storage_bytes_month',
  'active_seconds',
  'written_bytes',
  'own_bytes',
  'own_bytes_hour',
  'logical_bytes',
  'logical_bytes_hour',
] as const;
export type V2Metric = (typeof V2_METRICS)[number];

const paged = { ...span, cursor: cursor.optional(), org_id: pathId.optional() };
const projectIds = queryList(pathId, 100);

export const v1Query = z.strictObject({
  ...paged,
  limit: queryInteger(1, 100).optional(),
  project_ids: projectIds.optional(),
  include_v1_metrics: queryBoolean.optional(),
  metrics: queryList(z.enum(V1_METRICS), 20).optional(),
});
export const v2ProjectsQuery = z.strictObject({
  ...paged,
  limit: queryInteger(1, 100).optional(),
  project_ids: projectIds.optional(),
  metrics: queryList(z.enum(V2_METRICS), 40),
});
export const v2BranchesQuery = z.strictObject({
  ...paged,
  limit: queryInteger(1, 1000).optional(),
  project_ids: projectIds,
  branch_ids: queryList(pathId, 100).optional(),
  metrics: queryList(z.enum(V2_METRICS), 40),
});

const timeframe = { timeframe_start: when, timeframe_end: when };
const v1Frame = z.object({
  ...timeframe,
  active_time_seconds: count,
  compute_time_seconds: count,
  written_data_bytes: count,
  synthetic_storage_size_bytes: count,
  data_storage_bytes_hour: count.optional(),
  logical_size_bytes: count.optional(),
  logical_size_bytes_hour: count.optional(),
});
export type V1Frame = z.infer<typeof v1Frame>;
const v2Frame = z.object({
  ...timeframe,
  metrics: z.array(z.object({ metric_name: z.string(), value: count })),
});
export type V2Frame = z.infer<typeof v2Frame>;
const periods = <F extends z.ZodType>(frame: F) =>
  z.array(
    z.object({
      period_id: z.string(),
      period_plan: z.string(),
      period_start: when,
      period_end: when.optional(),
      consumption: z.array(frame),
    }),
  );

export const v1History = z.object({
  projects: z.array(z.object({ project_id: z.string(), periods: periods(v1Frame) })),
  pagination,
});
export const v2ProjectsHistory = z.object({
  projects: z.array(z.object({ project_id: z.string(), periods: periods(v2Frame) })),
  pagination,
});
export const v2BranchesHistory = z.object({
  branches: z.array(z.object({ project_id: z.string(), branch_id: z.string(), periods: periods(v2Frame) })),
  pagination,
});

const frame = z.object({
  ...timeframe,
  compute_unit_seconds: z.number(),
  active_seconds: z.number(),
  written_bytes: count,
  transferred_bytes: count,
  logical_bytes: count,
  own_bytes: count,
  logical_byte_hours: z.number(),
  own_byte_hours: z.number(),
});
export type Frame = z.infer<typeof frame>;
export const agentConsumption = z.object({ agent_id: z.string(), consumption: z.array(frame) });
export const taskConsumption = z.object({ task_id: z.string(), consumption: z.array(frame) });
