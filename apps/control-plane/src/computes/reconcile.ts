/**
 * An agent's report against what the metadata holds for its node. Pure: says what to do.
 *
 *   metadata \ reported     running            stopped        failed       not reported
 *   running                 take activity      it stopped     it failed    it failed, unless it just started
 *   starting, stopping      leave it: whoever starts or stops it hears of it first
 *   not live                stop it there      –              –            –
 */
import type { ActivityReport, LiveCompute } from '@coppice/catalog';
import type { ComputeActivity } from '@coppice/contracts';
import type { ComputeId, Lsn } from '@coppice/vocabulary';
import { byOurClock } from './idle';

export interface Reconciliation {
  readonly activity: readonly ActivityReport[];
  /** Ended in good order at a position that a quorum holds: the agent is going, or Postgres was told to end. */
  readonly stopped: readonly { readonly id: ComputeId; readonly finalLsn: Lsn }[];
  readonly failed: readonly { readonly id: ComputeId; readonly why: string }[];
  /** Their endpoint may have other sizes by now. */
  readonly resized: readonly {
    readonly id: ComputeId;
    readonly minUnits: number;
    readonly maxUnits: number;
  }[];
  /** Run on the agent without being wanted. */
  readonly orphans: readonly ComputeId[];
}

/** A report may have been put together before a compute became running: younger ones are not missed, milliseconds. */
export const REPORT_GRACE_MS = 10_000;

/** What is let finish is asked about again before that: longer than between two looks of an agent, milliseconds. */
const HELD_MS = 15_000;

export function reconcile(
  live: readonly LiveCompute[],
  incarnation: string,
  reports: readonly ComputeActivity[],
  nowMs: number,
  agentNowMs?: number,
): Reconciliation {
  const activity: ActivityReport[] = [];
  const failed: { id: ComputeId; why: string }[] = [];
  const stopped: { id: ComputeId; finalLsn: Lsn }[] = [];
  const resized: { id: ComputeId; minUnits: number; maxUnits: number }[] = [];
  const orphans: ComputeId[] = [];
  const rows = new Map<string, LiveCompute>(live.map((r) => [r.id, r]));
  const seen = new Set<string>();
  for (const report of reports) {
    seen.add(report.computeId);
    const row = rows.get(report.computeId);
    if (!row) {
      if (report.state === 'running') orphans.push(report.computeId as ComputeId);
    } else if (row.state === 'running' && row.incarnation === incarnation) {
      if (report.state === 'running') {
        const at = byOurClock(report.lastActiveUnixMs, agentNowMs, nowMs);
        const { computeUnits: units, unitSeconds = 0, commitLsn, look } = report;
        const size = units === undefined ? undefined : { units, unitSeconds };
        activity.push({
          computeId: row.id,
          lastActiveAt: new Date(at),
          commitLsn,
          ...(size && { size }),
          heldUntil: look?.held ? new Date(nowMs + HELD_MS) : undefined,
          memoryBytes: look?.memoryBytes,
          awakeReasons: look?.awakeReasons ?? [],
        });
        const { min_compute_units: minUnits, max_compute_units: maxUnits } = row;
        const differs = report.minComputeUnits !== minUnits || report.maxComputeUnits !== maxUnits;
        if (size && differs && minUnits !== null && maxUnits !== null)
          resized.push({ id: row.id, minUnits, maxUnits });
      } else if (report.state === 'stopped' && report.failure === '') {
        stopped.push({ id: row.id, finalLsn: report.commitLsn });
      } else if (report.state === 'failed' || report.state === 'stopped') {
        failed.push({ id: row.id, why: report.failure || 'the agent reports it failed' });
      }
    }
  }
  for (const row of live) {
    if (row.state === 'starting') continue;
    if (row.incarnation !== incarnation)
      failed.push({ id: row.id, why: 'the agent that ran it was restarted' });
    else if (
      row.state === 'running' &&
      !seen.has(row.id) &&
      (row.running_at ?? 0) < nowMs - REPORT_GRACE_MS
    ) {
      failed.push({ id: row.id, why: 'the agent does not know it any more' });
    }
  }
  return { activity, stopped, failed, resized, orphans };
}
