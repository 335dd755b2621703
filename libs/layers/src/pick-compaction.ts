/**
 * Which delta runs of a timeline to merge next. Runs are merged from the newest on, as long as the next older one is not
 * much larger than all newer ones together; so a byte is rewritten a logarithmic number of times, and a read looks into
 * a logarithmic number of runs. Only whole, adjacent runs are merged: the result is again one run, split by keys.
 */
import type { LsnNumber } from '@coppice/vocabulary';
import type { Layer } from './layer';
import type { LayerMap, Run } from './layer-map';

export interface CompactionLimits {
  /** At least so many runs are worth a merge. */
  readonly minRuns: number;
  /** At most so many runs are merged at once. */
  readonly maxRuns: number;
  /** An older run joins when it is at most so many times as large as the newer ones together. */
  readonly growth: number;
}

export const DEFAULT_COMPACTION: CompactionLimits = { minRuns: 4, maxRuns: 16, growth: 2 };

/**
 * The runs to merge, newest first; `undefined` when reads are cheap enough as it is. Runs that reach beyond `durableLsn`
 * are parts of a record that is not finished: a manifest cannot list them, nor what is made of them.
 */
export function pickCompaction<L extends Layer>(
  map: LayerMap<L>,
  durableLsn: LsnNumber,
  limits = DEFAULT_COMPACTION,
): readonly Run<L>[] | undefined {
  const picked: Run<L>[] = [];
  let bytes = 0;
  for (const run of map.runs) {
    if (run.endLsn > durableLsn) continue;
    if (run.kind === 'image') break;
    if (picked.length === limits.maxRuns) break;
    if (picked.length >= 2 && run.bytes > bytes * limits.growth) break;
    picked.push(run);
    bytes += run.bytes;
  }
  return picked.length >= limits.minRuns ? picked : undefined;
}

/** How many delta runs a read of any key looks into at most. */
export function deltaDepth(map: LayerMap): number {
  return map.runs.filter((run) => run.kind === 'delta').length;
}
