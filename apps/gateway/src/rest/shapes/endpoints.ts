import type { EndpointActivity, EndpointChanged, EndpointModel } from '@coppice/contracts';
import type { z } from 'zod';
import { time, timestamp } from '../formats';
import type * as schemas from '../schemas/endpoints';
import { PROVISIONER, REGION, SOURCE } from './constants';
import { operationJson } from './operations';

export function endpointJson(e: EndpointModel): z.infer<typeof schemas.endpoint> {
  return {
    host: e.host,
    id: e.id,
    name: e.name || undefined,
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

export function endpointActivityJson(a: EndpointActivity): z.infer<typeof schemas.endpointActivity> {
  return {
    endpoint_id: a.endpointId,
    running: a.isRunning,
    last_active: timestamp(a.lastActiveUnixMs),
    kept_awake_by: a.reasons.map((r) => ({
      kind: r.kind,
      since: timestamp(r.sinceUnixMs),
      pid: r.pid || undefined,
      name: r.name || undefined,
      database: r.database || undefined,
    })),
    seen_at: timestamp(a.seenUnixMs),
    suspends_at: timestamp(a.suspendUnixMs),
  };
}

export function endpointChangedJson({ endpoint, operations }: EndpointChanged) {
  return { endpoint: endpointJson(endpoint), operations: operations.map(operationJson) };
}
