import { safekeeperContract, serve, type CallContext, type ServedContract } from '@coppice/contracts';
import { CoppiceError, type Clock } from '@coppice/service-kit';
import type { CommitAdvance } from '../timelines/commit-feed';
import type { Timelines } from '../timelines/timelines';
import { propose } from './propose';
import { readWal } from './read-wal';
import { resolveLsn } from './resolve-lsn';

/** Timelines in one page of a listing. */
const MAX_PAGE = 1000;

/** The RPCs of protos/safekeeper.proto. */
export function safekeeperService(timelines: Timelines, clock: Clock): ServedContract {
  return serve(safekeeperContract, {
    propose: (stream) => propose(timelines, stream),
    readWal: (request, { signal }) => readWal(timelines.get(request.timelineId), request, signal, clock),
    watchTimelines: ({ sinceUnixMs }, context) => watchTimelines(timelines, sinceUnixMs, context),
    getTimelineStatus: async ({ timelineId }) => {
      const { state, startLsn, flushLsn, commitLsn, history, pageserver } = timelines.get(timelineId);
      return {
        term: state.term,
        startLsn,
        flushLsn,
        commitLsn,
        termHistory: history,
        pageserverDurableLsn: pageserver.durableLsn,
      };
    },
    resolveLsn: async ({ timelineId, lsn }) => {
      const timeline = timelines.get(timelineId);
      return { lsn: await resolveLsn(timeline, lsn), commitLsn: timeline.commitLsn };
    },
    reportPageserver: async ({ timelineId, ...report }) => {
      timelines.get(timelineId).reportPageserver(report);
      return {};
    },
    deleteTimeline: async ({ timelineId }) => {
      timelines.delete(timelineId);
      return {};
    },
    listTimelines: async ({ cursor, limit }) => {
      const size = pageSize(limit);
      const page = await timelines.list({ after: cursor, limit: size });
      return { timelines: page, nextCursor: page.length < size ? '' : page.at(-1)!.timelineId };
    },
  });
}

function pageSize(limit: number): number {
  if (limit <= MAX_PAGE) return limit === 0 ? MAX_PAGE : limit;
  throw new CoppiceError('Invalid', 'page-too-large', `a page of ${limit} timelines is asked for`, {
    remedy: `Ask for at most ${MAX_PAGE} and go on with next_cursor.`,
  });
}

/** What moved before the call, then what moves. The feed is joined first, so that nothing falls in between. */
async function* watchTimelines(
  timelines: Timelines,
  sinceUnixMs: number,
  { signal }: CallContext,
): AsyncGenerator<{ advances: readonly CommitAdvance[] }> {
  const moving = timelines.feed.watch(signal);
  const first = moving.next();
  try {
    for await (const advances of timelines.changedSince(sinceUnixMs)) yield { advances };
    for (let next = await first; !next.done; next = await moving.next()) yield { advances: next.value };
  } finally {
    await moving.return(undefined);
  }
}
