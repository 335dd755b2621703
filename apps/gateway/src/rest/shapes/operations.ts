import type { OperationModel } from '@coppice/contracts';
import type { z } from 'zod';
import { time } from '../formats';
import type * as schemas from '../schemas/operations';

export function operationJson(o: OperationModel): z.infer<typeof schemas.operation> {
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
