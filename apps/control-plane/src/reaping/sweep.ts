/**
 * What has outlived its use, ended on behalf of the reaper. Each kind costs O(due) to look for, takes only what no other sweep
 * holds, and may be stopped at any instruction: what is half done is due still and is carried on by the next.
 */
import { countDue, DUE_KINDS, type DueKind, estimatePopulation, findDue } from '@coppice/catalog';
import type { SweepRequest, SweepResponse, SweptItem } from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';
import { endExpiredBranches } from './end-expired-branches';
import { purgeBatch } from './purge-batch';
import { removeTimelines } from './remove-timelines';
import { sweepOrphans } from './sweep-orphans';
import { type ReapServices, swept } from './swept-item';

const MAX_PER_SWEEP = 1_000;
const COUNTED = 100_000;
const ORPHANS = 'orphaned-object';

type End = (s: ReapServices, limit: number, now: Date, signal: AbortSignal) => Promise<SweptItem[]>;

const ENDS: Readonly<Record<DueKind, End>> = {
  'expired-branch': endExpiredBranches,
  'deleted-branch': (s, limit, now) => purgeBatch(s, 'deleted-branch', limit, now),
  'deleted-project': (s, limit, now) => purgeBatch(s, 'deleted-project', limit, now),
  'deleted-timeline': removeTimelines,
  'expired-credential': (s, limit, now) => purgeBatch(s, 'expired-credential', limit, now),
  'expired-checkpoint': (s, limit, now) => purgeBatch(s, 'expired-checkpoint', limit, now),
};

/** One sweep over one kind. */
export async function sweep(
  s: ReapServices,
  request: SweepRequest,
  signal: AbortSignal,
): Promise<SweepResponse> {
  const limit = Math.min(request.limit, MAX_PER_SWEEP);
  if (request.kind === ORPHANS) return sweepOrphans(s, limit, request.dryRun, signal);
  const kind = DUE_KINDS.find((k) => k === request.kind);
  if (!kind)
    throw new CoppiceError(
      'Malformed',
      'bad-sweep-kind',
      `there is nothing of kind ${JSON.stringify(request.kind.slice(0, 40))} to sweep`,
      { remedy: `Use one of ${[...DUE_KINDS, ORPHANS].join(', ')}.` },
    );
  const now = new Date(s.clock.now());
  const population = await estimatePopulation(s.db, kind);
  // Never cut short of the fleet: the brake goes by the share of it.
  const due = await countDue(s.db, kind, now, Math.max(COUNTED, population));
  if (due === 0 || limit === 0) return { items: [], due, population };
  const items = request.dryRun
    ? (await findDue(s.db, kind, now, limit)).map((item) => swept(kind, item))
    : await ENDS[kind](s, limit, now, signal);
  return { items, due, population };
}
