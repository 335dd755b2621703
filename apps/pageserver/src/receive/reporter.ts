import type { Clock, Log, Part } from '@coppice/service-kit';
import { BackgroundLoop, CoppiceError } from '@coppice/service-kit';
import { lsn as toLsn } from '@coppice/vocabulary';
import type { Attachment } from '../storage/attachment';
import type { Timeline } from '../storage/timeline';
import type { Safekeeper } from './safekeepers';

export interface ReporterOptions {
  readonly safekeepers: readonly Safekeeper[];
  readonly attachment: Attachment;
  readonly log: Log;
  readonly everyMs: number;
  readonly clock?: Clock;
}

const DEADLINE_MS = 2_000;
/** Reports under way to one safekeeper at once. */
const BATCH = 32;
/** Timelines remembered for a safekeeper that does not answer; the oldest are left out until they move again. */
const MAX_OWED = 20_000;

/** Tells every safekeeper how far timelines are ingested and durable; one that is away hears it when it is back. */
export class Reporter implements Part {
  readonly name = 'position reports';
  readonly #options: ReporterOptions;
  readonly #owed: { readonly safekeeper: Safekeeper; readonly timelines: Set<Timeline>; readonly loop: BackgroundLoop }[];

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#owed = options.safekeepers.map((safekeeper) => {
      const timelines = new Set<Timeline>();
      const run = (signal: AbortSignal): Promise<void> => this.#report(safekeeper, timelines, signal);
      const clock = options.clock ? { clock: options.clock } : {};
      return { safekeeper, timelines, loop: new BackgroundLoop({ name: `reports to ${safekeeper.id}`, everyMs: options.everyMs, log: options.log, run, ...clock }) };
    });
  }

  /** The timeline's positions have moved. */
  moved(timeline: Timeline): void {
    for (const { timelines } of this.#owed) {
      timelines.add(timeline);
      if (timelines.size > MAX_OWED) timelines.delete(timelines.values().next().value!);
    }
  }

  async start(): Promise<void> {
    for (const { loop } of this.#owed) loop.start();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#owed.map(({ loop }) => loop.stop()));
  }

  async #report({ id, client }: Safekeeper, timelines: Set<Timeline>, signal: AbortSignal): Promise<void> {
    if (timelines.size === 0) return;
    const generation = await this.#options.attachment.generation(signal);
    for (const batch of batches([...timelines])) {
      await Promise.all(
        batch.map(async (timeline) => {
          timelines.delete(timeline);
          const position = { ingestedLsn: toLsn(timeline.finished.lsn), durableLsn: toLsn(timeline.releasedLsn) };
          try {
            await client.reportPageserver({ timelineId: timeline.id, ...position, generation }, { signal, deadlineMs: DEADLINE_MS });
          } catch (error) {
            // A safekeeper that never had the timeline needs no report of it.
            if (!(error instanceof CoppiceError && error.kind === 'NotFound')) timelines.add(timeline);
            this.#options.log.debug({ err: error, safekeeper: id }, 'report to a safekeeper fails, is sent again');
          }
        }),
      );
      signal.throwIfAborted();
    }
  }
}

function* batches<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += BATCH) yield items.slice(at, at + BATCH);
}
