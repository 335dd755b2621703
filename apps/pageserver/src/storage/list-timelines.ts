import { TIMELINES_PREFIX } from '@coppice/layers';
import type { ObjectStore } from '@coppice/object-store';
import { CoppiceError } from '@coppice/service-kit';
import type { TimelineId } from '@coppice/vocabulary';
import { parseTimelineId } from '@coppice/vocabulary';
import type { Timelines } from './timelines';

export interface TimelinesPage {
  readonly timelineIds: readonly TimelineId[];
  /** Empty after the last page. */
  readonly nextCursor: string;
}

/** Objects or timelines in one page of an answer. */
const MAX_PAGE = 1000;

/** Checks what a request says of its page; 0 is the largest. */
export function pageSize(limit: number): number {
  if (limit <= MAX_PAGE) return limit === 0 ? MAX_PAGE : limit;
  throw new CoppiceError('Invalid', 'page-too-large', `a page of ${limit} is asked for`, {
    remedy: `Ask for at most ${MAX_PAGE} and go on with next_cursor.`,
  });
}

/** Timelines in memory or with something in object storage, after the cursor, in order. */
export async function listTimelines(
  { cursor, limit }: { readonly cursor: string; readonly limit: number },
  { store, timelines }: { readonly store: ObjectStore; readonly timelines: Timelines },
  signal?: AbortSignal,
): Promise<TimelinesPage> {
  const size = pageSize(limit);
  const { folders, truncated } = await store.listFolders({ prefix: TIMELINES_PREFIX, after: cursor, limit: size }, signal);
  const stored = folders.flatMap((folder) => parseTimelineId(folder) ?? []);
  // What is in memory behind a full page of folders comes with the next page.
  const last = truncated ? folders.at(-1) : undefined;
  const inMemory = timelines.idsAfter(cursor).filter((id) => last === undefined || id <= last);
  const all = [...new Set([...stored, ...inMemory])].sort();
  const timelineIds = all.slice(0, size);
  const hasMore = truncated || all.length > size;
  return { timelineIds, nextCursor: hasMore ? (timelineIds.at(-1) ?? last ?? '') : '' };
}
