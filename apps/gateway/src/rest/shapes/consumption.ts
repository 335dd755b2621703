import type { Consumption, ConsumptionFrame } from '@coppice/contracts';
import { time } from '../formats';
import type { Frame, V1Frame, V2Frame, V2Metric } from '../schemas/consumption';
import { uuidOf } from './accounts';
import { PLAN } from './constants';
import { monthOf } from './projects';

const spanOf = (f: ConsumptionFrame) => ({
  timeframe_start: time(f.startUnixMs),
  timeframe_end: time(f.endUnixMs),
});

export function frameJson(f: ConsumptionFrame): Frame {
  const c = f.consumption;
  return {
    ...spanOf(f),
    compute_unit_seconds: c.computeUnitSeconds,
    active_seconds: c.activeSeconds,
    written_bytes: c.writtenBytes,
    transferred_bytes: c.transferredBytes,
    logical_bytes: c.logicalBytes,
    own_bytes: c.ownBytes,
    logical_byte_hours: c.logicalByteHours,
    own_byte_hours: c.ownByteHours,
  };
}

export function v1FrameJson(f: ConsumptionFrame, metrics: readonly string[]): V1Frame {
  const c = f.consumption;
  const asked = (name: string, value: number): number | undefined =>
    metrics.includes(name) ? Math.round(value) : undefined;
  return {
    ...spanOf(f),
    active_time_seconds: Math.round(c.activeSeconds),
    compute_time_seconds: Math.round(c.computeUnitSeconds),
    written_data_bytes: c.writtenBytes,
    synthetic_storage_size_bytes: c.ownBytes,
    data_storage_bytes_hour: asked('data_storage_bytes_hour', c.ownByteHours),
    logical_size_bytes: asked('logical_size_bytes', c.logicalBytes),
    logical_size_bytes_hour: asked('logical_size_bytes_hour', c.logicalByteHours),
  };
}

/**
 * How each v2 metric is read off. Storage is not told apart by kinds of branches here, so those of Neon's names that do are
 * left out of answers; `own_bytes_hour` of each branch says as much.
 */
const V2_VALUES: Partial<Record<V2Metric, (c: Consumption) => number>> = {
  compute_unit_seconds: (c) => c.computeUnitSeconds,
  public_network_transfer_bytes: (c) => c.transferredBytes,
  active_seconds: (c) => c.activeSeconds,
  written_bytes: (c) => c.writtenBytes,
  own_bytes: (c) => c.ownBytes,
  own_bytes_hour: (c) => c.ownByteHours,
  logical_bytes: (c) => c.logicalBytes,
  logical_bytes_hour: (c) => c.logicalByteHours,
};

export function v2FrameJson(f: ConsumptionFrame, metrics: readonly V2Metric[]): V2Frame {
  return {
    ...spanOf(f),
    metrics: metrics.flatMap((name) => {
      const value = V2_VALUES[name]?.(f.consumption);
      return value === undefined ? [] : [{ metric_name: name, value: Math.round(value) }];
    }),
  };
}

/** Frames in the UTC months they began in, which are the billing periods; only past ones have an end. */
export function periodsJson<F>(
  of: string,
  frames: readonly ConsumptionFrame[],
  now: number,
  toJson: (frame: ConsumptionFrame) => F,
) {
  const months = new Map<number, ConsumptionFrame[]>();
  for (const frame of frames) {
    const { start } = monthOf(frame.startUnixMs);
    months.set(start, [...(months.get(start) ?? []), frame]);
  }
  return [...months].map(([start, inMonth]) => {
    const { end } = monthOf(start);
    return {
      period_id: uuidOf(`${of} ${start}`),
      period_plan: PLAN,
      period_start: time(start),
      period_end: end <= now ? time(end) : undefined,
      consumption: inMonth.map(toJson),
    };
  });
}
