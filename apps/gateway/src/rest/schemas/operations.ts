import { z } from 'zod';
import { count, page, pagination, projectPath, text, when } from './primitives';

export const operationPath = projectPath.extend({ operation_id: text(60) });
export const operationsQuery = page(1000);

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
export const operations = z.array(operation);

export const operationResponse = z.object({ operation });
export const operationsResponse = z.object({ operations });
export const operationsPage = z.object({ operations, pagination });
