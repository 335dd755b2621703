/** The pageserver's RPCs: waits for positions, then hands over to reading, image making and import. */
import type { Handlers } from '@coppice/contracts';
import type { pageserverContract } from '@coppice/contracts';
import type { Clock, Log } from '@coppice/service-kit';
import { lsn as toLsn, toLsnNumber } from '@coppice/vocabulary';
import type { LsnNumber, TimelineId } from '@coppice/vocabulary';
import { computeImage } from '../image/compute-image';
import { lsnAtTime } from '../image/lsn-at-time';
import type { PageServer } from '../read/get-pages';
import type { TimelineReader } from '../read/timeline-reader';
import { logicalSize } from '../read/logical-size';
import type { WantLsn } from '../read/wait-for-lsn';
import { waitForLsn } from '../read/wait-for-lsn';
import type { ImportDeps } from '../storage/import-images';
import { IngestTimeline } from '../storage/ingest-timeline';
import type { Timeline } from '../storage/timeline';
import type { Timelines } from '../storage/timelines';
import { importTimeline } from './import-timeline';
import { servePages } from './serve-pages';

export interface PageserverServiceOptions extends ImportDeps {
  readonly timelines: Timelines;
  readonly reader: TimelineReader;
  readonly pages: PageServer;
  readonly want: WantLsn;
  readonly clock: Clock;
  readonly log: Log;
}

/** How long a request waits for a position, milliseconds. */
const WAIT_MS = 20_000;

export function pageserverService(options: PageserverServiceOptions): Handlers<typeof pageserverContract.methods> {
  const { timelines, reader, pages, want, clock, log } = options;

  /** The timeline, readable at `lsn`. */
  const at = async (id: TimelineId, lsn: LsnNumber, signal: AbortSignal): Promise<Timeline> => {
    const timeline = await timelines.get(id);
    await waitForLsn(timeline, lsn, { want, deadlineMs: WAIT_MS, signal });
    return timeline;
  };
  const statusOf = async (timeline: Timeline, signal: AbortSignal): ReturnType<Handlers<typeof pageserverContract.methods>['waitForLsn']> => ({
    ingestedLsn: toLsn(timeline.finished.lsn),
    durableLsn: toLsn(timeline.durableLsn),
    logicalSizeBytes: await logicalSize(timeline, reader, signal),
    writtenWalBytes: timeline.finished.lsn - timeline.startLsn,
    layers: timeline.layers.layers.length,
  });

  return {
    getPages: (stream, { signal }) =>
      servePages(stream, {
        log,
        signal,
        read: async ({ timelineId, lsn, keys }) => {
          const position = toLsnNumber(lsn);
          return pages.getPages(await at(timelineId, position, signal), keys, position, signal);
        },
      }),

    getComputeImage: async function* ({ timelineId, lsn }, { signal }) {
      const position = toLsnNumber(lsn);
      const timeline = await at(timelineId, position, signal);
      const { finished } = timeline;
      const lastRecordLsn = finished.lsn === position && finished.lastRecordLsn > 0 ? finished.lastRecordLsn : undefined;
      yield* computeImage(new IngestTimeline(timeline, reader, signal), { lsn: position, lastRecordLsn });
    },

    lsnAtTime: async ({ timelineId, unixMicros, upToLsn }, { signal }) => {
      const timeline = await timelines.get(timelineId);
      const lsn = upToLsn === undefined ? timeline.finished.lsn : toLsnNumber(upToLsn);
      await waitForLsn(timeline, lsn, { want, deadlineMs: WAIT_MS, signal });
      const nowUnixMicros = BigInt(Math.floor(clock.now() * 1000));
      const found = await lsnAtTime(new IngestTimeline(timeline, reader, signal), { lsn, unixMicros, nowUnixMicros });
      return { lsn: toLsn(found.lsn), commitUnixMicros: found.unixMicros };
    },

    getTimelineStatus: async ({ timelineId }, { signal }) => statusOf(await timelines.get(timelineId), signal),

    waitForLsn: async ({ timelineId, lsn }, { signal }) => statusOf(await at(timelineId, toLsnNumber(lsn), signal), signal),

    importTimeline: (parts) => importTimeline(parts, options),
  };
}
