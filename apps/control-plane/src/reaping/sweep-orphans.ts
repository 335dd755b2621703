import { recordAudit } from '@coppice/catalog';
import type { SweepResponse, SweptItem } from '@coppice/contracts';
import { REAPER, type ReapServices } from './swept-item';

/** Objects younger than this may belong to work that is under way, milliseconds. */
const OLDER_THAN_MS = 3_600_000;
const MAX_PAGES = 1_000;

/** Objects in object storage that no manifest refers to. What refers to an object is known to the pageserver alone. */
export async function sweepOrphans(
  { db, peers, clock }: ReapServices,
  limit: number,
  dryRun: boolean,
  signal: AbortSignal,
): Promise<SweepResponse> {
  const items: SweptItem[] = [];
  let cursor = '';
  for (let page = 0; page < MAX_PAGES && items.length < limit; page++) {
    const found = await peers.pageserver.sweepOrphanedObjects(
      { dryRun, olderThanMs: OLDER_THAN_MS, limit: limit - items.length, cursor },
      { signal },
    );
    for (const object of found.objects)
      items.push({
        id: object.name,
        projectId: '',
        branchId: '',
        dueUnixMs: clock.now(),
        why: object.why,
        done: object.removed,
        failure: '',
      });
    cursor = found.nextCursor;
    if (cursor === '') break;
  }
  const removed = items.filter((i) => i.done).length;
  if (removed > 0)
    await recordAudit(db, {
      ...REAPER,
      action: 'sweep-orphaned-objects',
      detail: { objects: removed },
      now: new Date(clock.now()),
    });
  return { items, due: items.length, population: 0 };
}
