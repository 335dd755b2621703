import type { ProjectModel, ProjectSettings } from '@coppice/contracts';
import type { z } from 'zod';
import { time, timestamp } from '../formats';
import type * as schemas from '../schemas/projects';
import { ORGANIZATION, PLATFORM, PROVISIONER, REGION, SOURCE } from './constants';

type ListItem = z.infer<typeof schemas.projectListItem>;

/** The UTC month that `now` lies in, as its start and end. */
export function monthOf(now: number): { readonly start: number; readonly end: number } {
  const at = new Date(now);
  const month = (n: number): number => Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + n, 1);
  return { start: month(0), end: month(1) };
}

function projectCommon(p: ProjectModel, now: number): Omit<ListItem, 'active_time'> {
  return {
    id: p.id,
    platform_id: PLATFORM,
    region_id: REGION,
    name: p.name,
    provisioner: PROVISIONER,
    default_endpoint_settings: {
      suspend_timeout_seconds: p.suspendTimeoutSeconds,
      autoscaling_limit_min_cu: p.minComputeUnits || undefined,
      autoscaling_limit_max_cu: p.maxComputeUnits || undefined,
    },
    settings: { quota: quotaJson(p.settings) },
    pg_version: p.pgVersion,
    proxy_host: '',
    branch_logical_size_limit: Math.ceil((p.settings?.quotaLogicalSizeBytes ?? 0) / 2 ** 20),
    branch_logical_size_limit_bytes: p.settings?.quotaLogicalSizeBytes ?? 0,
    store_passwords: true,
    cpu_used_sec: Math.round(p.consumption?.computeUnitSeconds ?? 0),
    creation_source: SOURCE,
    created_at: time(p.createdUnixMs),
    updated_at: time(p.updatedUnixMs),
    synthetic_storage_size: p.consumption?.ownBytes ?? 0,
    quota_reset_at: time(monthOf(now).end),
    owner_id: p.ownerId,
    compute_last_active_at: timestamp(p.computeLastActiveUnixMs),
    org_id: ORGANIZATION,
    history_retention_seconds: p.historyRetentionSeconds,
    deleted_at: timestamp(p.deletedUnixMs),
    recoverable_until: timestamp(p.recoverableUntilUnixMs),
    default_branch_id: p.defaultBranchId || undefined,
  };
}

/** Limits that are set; those that are not are left out. */
function quotaJson(settings: ProjectSettings | undefined): Record<string, number | undefined> {
  return {
    active_time_seconds: settings?.quotaActiveSeconds || undefined,
    compute_time_seconds: settings?.quotaComputeSeconds || undefined,
    written_data_bytes: settings?.quotaWrittenBytes || undefined,
    data_transfer_bytes: settings?.quotaTransferredBytes || undefined,
    logical_size_bytes: settings?.quotaLogicalSizeBytes || undefined,
  };
}

export function projectListItemJson(p: ProjectModel, now: number): ListItem {
  return { ...projectCommon(p, now), active_time: Math.round(p.consumption?.activeSeconds ?? 0) };
}

export function projectJson(p: ProjectModel, now: number): z.infer<typeof schemas.project> {
  const used = p.consumption;
  const month = monthOf(now);
  return {
    ...projectCommon(p, now),
    data_storage_bytes_hour: Math.round(used?.ownByteHours ?? 0),
    data_transfer_bytes: used?.transferredBytes ?? 0,
    written_data_bytes: used?.writtenBytes ?? 0,
    compute_time_seconds: Math.round(used?.computeUnitSeconds ?? 0),
    active_time_seconds: Math.round(used?.activeSeconds ?? 0),
    consumption_period_start: time(month.start),
    consumption_period_end: time(month.end),
  };
}
