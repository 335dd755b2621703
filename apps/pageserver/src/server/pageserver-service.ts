/** The pageserver's RPCs: waits for positions, then hands over to reading, image making and import. */
import type { Handlers } from '@coppice/contracts';
import type { pageserverContract } from '@coppice/contracts';
import type { Clock, Log } from '@coppice/service-kit';
import { CoppiceError } from '@coppice/service-kit';
import { lsn as toLsn, toLsnNumber } from '@coppice/vocabulary';
import type { LsnNumber, TimelineId } from '@coppice/vocabulary';
import { MAX_SIZES_PER_REQUEST } from '@coppice/contracts';
import { computeImage } from '../image/compute-image';
import { lsnAtTime } from '../image/lsn-at-time';
import { allRelations, namedRelations, relationsOfDatabase } from '../image/relations';
import { wantedParts } from '../image/wanted';
import type { PageServer } from '../read/get-pages';
import type { TimelineReader } from '../read/timeline-reader';
import type { LogicalSizes } from '../read/logical-size';
import { timelineSizes } from '../read/timeline-sizes';
import type { WantLsn } from '../read/wait-for-lsn';
import { waitForLsn } from '../read/wait-for-lsn';
import type { DeletionDeps } from '../maintenance/delete-timeline';
import { deleteTimeline } from '../maintenance/delete-timeline';
import { sweepOrphans } from '../maintenance/sweep-orphans';
import type { ImportDeps } from '../storage/import-images';
import { IngestTimeline } from '../storage/ingest-timeline';
import { listTimelines, pageSize } from '../storage/list-timelines';
import type { Timeline } from '../storage/timeline';
import type { Timelines } from '../storage/timelines';
import { importTimeline } from './import-timeline';
import { servePages } from './serve-pages';

export interface PageserverServiceOptions extends ImportDeps {
  readonly timelines: Timelines;
  readonly reader: TimelineReader;
  readonly logicalSizes: LogicalSizes;
  readonly pages: PageServer;
  readonly want: WantLsn;
  readonly endIngest: DeletionDeps['endIngest'];
  readonly clock: Clock;
  readonly log: Log;
}

/** How long a request waits for a position, milliseconds. */
const WAIT_MS = 20_000;

export function pageserverService(options: PageserverServiceOptions): Handlers<typeof pageserverContract.methods> {
  const { timelines, reader, logicalSizes, pages, want, clock, log } = options;

  /** The timeline, readable at `lsn`. */
  const at = async (id: TimelineId, lsn: LsnNumber, signal: AbortSignal): Promise<Timeline> => {
    const timeline = await timelines.get(id);
    await waitForLsn(timeline, lsn, { want, deadlineMs: WAIT_MS, signal });
    return timeline;
  };
  const statusOf = async (timeline: Timeline, signal: AbortSignal): ReturnType<Handlers<typeof pageserverContract.methods>['waitForLsn']> => {
    const size = await unlessDeleted(timeline, () => logicalSizes.of(timeline, signal));
    if (size.isEstimate) wantAncestry(timeline, want);
    return {
      ingestedLsn: toLsn(timeline.finished.lsn),
      durableLsn: toLsn(timeline.durableLsn),
      logicalSizeBytes: size.bytes,
      logicalSizeIsEstimate: size.isEstimate,
      ownBytes: timeline.ownBytes,
      writtenWalBytes: timeline.writtenWalBytes,
      layers: timeline.layers.layers.length,
    };
  };

  return {
    getPages: (stream, { signal }) =>
      servePages(stream, {
        log,
        signal,
        read: async ({ timelineId, lsn, keys }) => {
          const position = toLsnNumber(lsn);
          const timeline = await at(timelineId, position, signal);
          return unlessDeleted(timeline, () => pages.getPages(timeline, keys, position, signal));
        },
      }),

    getComputeImage: async function* ({ timelineId, lsn, wanted, allRelations: all }, { signal }) {
      const position = toLsnNumber(lsn);
      const timeline = await at(timelineId, position, signal);
      const { finished } = timeline;
      const lastRecordLsn = finished.lsn === position && finished.lastRecordLsn > 0 ? finished.lastRecordLsn : undefined;
      const view = new IngestTimeline(timeline, reader, signal);
      yield* computeImage(view, { lsn: position, lastRecordLsn, logicalSize: logicalSizes.now(timeline) });
      if (all) yield* allRelations(view, position);
      yield* wantedParts(view, wanted, position, (keys) => pages.existing(timeline, keys, position, signal));
    },

    getRelations: async function* ({ timelineId, lsn, tablespace, database, relation }, { signal }) {
      const position = toLsnNumber(lsn);
      const view = new IngestTimeline(await at(timelineId, position, signal), reader, signal);
      if (relation === 0) yield* relationsOfDatabase(view, { tablespace, database }, position);
      else yield* namedRelations(view, [{ tablespace, database, relation }], position);
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

    listTimelines: (request, { signal }) => listTimelines(request, options, signal),

    deleteTimeline: ({ timelineId }, { signal }) => deleteTimeline(timelineId, options, signal),

    getTimelineSizes: async ({ timelineIds }, { signal }) => {
      if (timelineIds.length === 0 || timelineIds.length > MAX_SIZES_PER_REQUEST) {
        throw new CoppiceError('Invalid', 'bad-timeline-count', `sizes of ${timelineIds.length} timelines are asked for`, {
          remedy: `Name 1 to ${MAX_SIZES_PER_REQUEST} timelines.`,
        });
      }
      return { sizes: await timelineSizes(timelineIds, options, signal) };
    },

    sweepOrphanedObjects: (request, { signal }) => sweepOrphans({ ...request, limit: pageSize(request.limit) }, options, signal),
  };
}

/** What goes wrong while a timeline's layers are being removed says nothing but that. */
async function unlessDeleted<T>(timeline: Timeline, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw timeline.deletion ?? error;
  }
}

/** Brings ancestors to the timeline's branch points, in the background. */
function wantAncestry({ ancestor }: Timeline, want: WantLsn): void {
  for (let link = ancestor; link !== undefined; link = link.timeline.ancestor) {
    if (link.timeline.ingested.value < link.lsn) want(link.timeline, link.lsn);
  }
}
