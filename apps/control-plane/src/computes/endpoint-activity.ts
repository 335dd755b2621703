/** What keeps an endpoint awake, or kept it so, from what is recorded of its newest compute. Pure. */
import type { ComputeRow } from '@coppice/catalog';
import type { AwakeReasonMessage, EndpointActivity } from '@coppice/contracts';

const RUNS = new Set(['running', 'stopping']);

/** `row` is of the endpoint's newest compute; absent when it never had one. */
export function endpointActivity(endpointId: string, row: ComputeRow | undefined): EndpointActivity {
  const never = { endpointId, isRunning: false, lastActiveUnixMs: 0, seenUnixMs: 0, suspendUnixMs: 0 };
  if (!row) return { ...never, reasons: [] };
  const lastActive = row.last_active_at ?? 0;
  const seen = row.awake_at ?? 0;
  // Counted as use when a client was let in, before its agent has looked again.
  const connection: AwakeReasonMessage = {
    kind: 'connection',
    sinceUnixMs: lastActive,
    pid: 0,
    name: '',
    database: '',
  };
  return {
    endpointId,
    isRunning: RUNS.has(row.state),
    lastActiveUnixMs: lastActive,
    reasons: lastActive > seen ? [connection] : [...row.awake_reasons],
    seenUnixMs: Math.max(seen, lastActive),
    suspendUnixMs: row.state === 'running' ? (row.idle_due_at ?? 0) : 0,
  };
}
