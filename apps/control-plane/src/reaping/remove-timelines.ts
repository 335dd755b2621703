/**
 * Removes timelines that nothing needs: first barred in the metadata, so that nothing new can start on one; then from every
 * safekeeper, so that nothing can be written to it; then from the pageserver; last its row. Each step may be repeated, and a
 * removal that stopped anywhere is carried on by whoever looks next.
 */
import {
  barTimeline,
  type BarredTimeline,
  type DueItem,
  findDue,
  forgetTimeline,
  postponePurge,
  recordAudit,
} from '@coppice/catalog';
import type { SweptItem } from '@coppice/contracts';
import { asCoppiceError, failpoint, Semaphore } from '@coppice/service-kit';
import type { TimelineId } from '@coppice/vocabulary';
import { REAPER, type ReapServices, swept } from './swept-item';

const AT_ONCE = 8;
/** A service that does not answer is asked again after this, milliseconds. */
const AGAIN_AFTER_MS = 10_000;

export async function removeTimelines(
  s: ReapServices,
  limit: number,
  now: Date,
  signal: AbortSignal,
): Promise<SweptItem[]> {
  const permits = new Semaphore(AT_ONCE);
  const due = await findDue(s.db, 'deleted-timeline', now, limit);
  return Promise.all(due.map((item) => permits.run(() => removeOne(s, item, now, signal))));
}

async function removeOne(s: ReapServices, item: DueItem, now: Date, signal: AbortSignal): Promise<SweptItem> {
  const id = item.id as TimelineId;
  const barred = await s.db.transaction().execute((tx) => barTimeline(tx, id, now));
  if (!barred) return swept('deleted-timeline', item, { why: 'still needed' });
  failpoint('purge-after-bar');
  try {
    await removeFromStorage(s, barred, signal);
  } catch (error) {
    const { message } = asCoppiceError(error);
    await postponePurge(s.db, id, new Date(now.getTime() + AGAIN_AFTER_MS));
    return swept('deleted-timeline', item, { failure: message });
  }
  const done = await s.db.transaction().execute(async (tx) => {
    if (!(await forgetTimeline(tx, id, now))) return false;
    const { projectId } = barred;
    await recordAudit(tx, {
      ...REAPER,
      action: 'purge-timeline',
      ...(projectId === undefined ? {} : { projectId }),
      detail: { timeline: id },
      now,
    });
    return true;
  });
  return swept('deleted-timeline', item, { done });
}

async function removeFromStorage(
  { peers }: ReapServices,
  { id: timelineId }: BarredTimeline,
  signal: AbortSignal,
): Promise<void> {
  await Promise.all(
    peers.safekeepers.map((safekeeper) => safekeeper.deleteTimeline({ timelineId }, { signal })),
  );
  failpoint('purge-after-safekeepers');
  await peers.pageserver.deleteTimeline({ timelineId }, { signal });
  failpoint('purge-after-pageserver');
}
