/**
 * Which timelines receive WAL now. Safekeepers announce committed positions; a reader may want a position before it is
 * announced. A timeline that is behind gets a receiver, which ends when all is quiet: an idle timeline costs nothing here.
 */
import type { Clock, Log, Part } from '@coppice/service-kit';
import { BackgroundLoop, Gauge, systemClock } from '@coppice/service-kit';
import type { LsnNumber, TimelineId } from '@coppice/vocabulary';
import { toLsnNumber } from '@coppice/vocabulary';
import type { LogicalSizes } from '../read/logical-size';
import type { TimelineReader } from '../read/timeline-reader';
import { waitForLsn } from '../read/wait-for-lsn';
import type { Timeline } from '../storage/timeline';
import type { Timelines } from '../storage/timelines';
import { isTimelineDeleted } from '../storage/tombstones';
import type { Safekeeper } from './safekeepers';
import { TimelineReceiver } from './timeline-receiver';

export interface ReceiversOptions {
  readonly timelines: Timelines;
  readonly safekeepers: readonly Safekeeper[];
  readonly reader: TimelineReader;
  readonly logicalSizes: LogicalSizes;
  readonly log: Log;
  readonly onProgress: (timeline: Timeline) => void;
  /** Announced timelines that receive at once; the others wait their turn. */
  readonly maxAnnounced: number;
  readonly clock?: Clock;
}

interface Announced {
  readonly lsn: LsnNumber;
  readonly safekeeper: string;
}

const CHECK_MS = 500;
const WATCH_RETRY_MS = 250;
const ANCESTOR_WAIT_MS = 60_000;
const activeReceivers = new Gauge({ name: 'coppice_pageserver_active_receivers', help: 'Timelines that receive WAL.' });

export class Receivers implements Part {
  readonly name = 'wal receivers';
  readonly #options: ReceiversOptions;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  readonly #running = new Map<TimelineId, { receiver: TimelineReceiver; done: Promise<void> }>();
  readonly #starting = new Map<TimelineId, Promise<void>>();
  /** Announced while too many receive already; the furthest position of each. */
  readonly #waiting = new Map<TimelineId, Announced>();
  readonly #checks: BackgroundLoop;
  #watches: Promise<void>[] = [];

  constructor(options: ReceiversOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#checks = new BackgroundLoop({ name: 'receivers', everyMs: CHECK_MS, log: options.log, clock: this.#clock, run: async () => this.#check() });
  }

  async start(): Promise<void> {
    this.#watches = this.#options.safekeepers.map((safekeeper) => this.#watch(safekeeper));
    this.#checks.start();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#checks.stop();
    await Promise.all([...this.#watches, ...this.#starting.values()]);
    await Promise.all([...this.#running.values()].map(({ done }) => done));
    for (const { client } of this.#options.safekeepers) client.close();
  }

  /** A reader waits for this position: the timeline receives now. */
  want(timeline: Timeline, lsn: LsnNumber): void {
    const running = this.#running.get(timeline.id);
    if (running) running.receiver.advance(lsn);
    else this.#run(timeline, lsn, undefined);
  }

  /** A deleted timeline receives no more; resolves when that is so. */
  async end(id: TimelineId): Promise<void> {
    this.#waiting.delete(id);
    await this.#starting.get(id);
    const running = this.#running.get(id);
    running?.receiver.end();
    await running?.done;
  }

  #announce(id: TimelineId, announced: Announced): void {
    const running = this.#running.get(id);
    if (running) return running.receiver.advance(announced.lsn, announced.safekeeper);
    const known = this.#options.timelines.peek(id);
    if (known && (known.finished.lsn >= announced.lsn || known.failure)) return;
    const before = this.#waiting.get(id);
    if (!before || before.lsn < announced.lsn) this.#waiting.set(id, announced);
    this.#startWaiting();
  }

  #startWaiting(): void {
    for (const [id, announced] of this.#waiting) {
      if (this.#running.size + this.#starting.size >= this.#options.maxAnnounced) return;
      if (this.#starting.has(id)) continue;
      this.#waiting.delete(id);
      const starting = this.#load(id, announced).finally(() => {
        this.#starting.delete(id);
        if (!this.#stop.signal.aborted) this.#startWaiting();
      });
      this.#starting.set(id, starting);
    }
  }

  async #load(id: TimelineId, { lsn, safekeeper }: Announced): Promise<void> {
    try {
      const timeline = await this.#options.timelines.get(id);
      if (this.#stop.signal.aborted || timeline.finished.lsn >= lsn) return;
      if (!this.#running.has(id)) this.#run(timeline, lsn, safekeeper);
    } catch (error) {
      if (isTimelineDeleted(error)) this.#options.log.debug({ timeline: id, safekeeper }, 'announced timeline is deleted');
      else if (!this.#stop.signal.aborted) this.#options.log.warn({ err: error, timeline: id }, 'announced timeline cannot be loaded, waits for its next news');
    }
  }

  #run(timeline: Timeline, lsn: LsnNumber, safekeeper: string | undefined): void {
    if (this.#stop.signal.aborted || timeline.failure) return;
    const { safekeepers, reader, log, onProgress } = this.#options;
    const receiver = new TimelineReceiver({ timeline, safekeepers, reader, clock: this.#clock, log, onProgress, signal: this.#stop.signal });
    receiver.advance(lsn, safekeeper);
    timeline.pins += 1;
    const done = this.#receive(timeline, receiver).finally(() => {
      timeline.pins -= 1;
      timeline.usedAtMs = this.#clock.monotonic();
      this.#running.delete(timeline.id);
      activeReceivers.set(this.#running.size);
      if (this.#stop.signal.aborted) return;
      if (timeline.finished.lsn < receiver.target && !timeline.failure) this.#run(timeline, receiver.target, undefined);
      else this.#startWaiting();
    });
    this.#running.set(timeline.id, { receiver, done });
    activeReceivers.set(this.#running.size);
  }

  /** Ingest reads through the ancestors, so they come first. */
  async #receive(timeline: Timeline, receiver: TimelineReceiver): Promise<void> {
    const { ancestor } = timeline;
    const signal = receiver.ending;
    try {
      if (ancestor) {
        const want = (of: Timeline, lsn: LsnNumber): void => this.want(of, lsn);
        await waitForLsn(ancestor.timeline, ancestor.lsn, { want, deadlineMs: ANCESTOR_WAIT_MS, signal });
      }
    } catch (error) {
      if (timeline.deletion) return;
      if (!signal.aborted) this.#options.log.warn({ err: error, timeline: timeline.id }, 'ancestor of a timeline is behind, tries again');
      await this.#clock.sleep(WATCH_RETRY_MS, signal).catch(() => undefined);
      return;
    }
    const sized = this.#size(timeline, signal);
    await receiver.run();
    await sized;
  }

  /** Finds out the size that the timeline started with while its ancestors are there, for the manifest to keep. */
  async #size(timeline: Timeline, signal: AbortSignal): Promise<void> {
    try {
      await this.#options.logicalSizes.of(timeline, signal);
    } catch (error) {
      if (!signal.aborted) this.#options.log.debug({ err: error, timeline: timeline.id }, 'size of a timeline is not found out');
    }
  }

  #check(): void {
    for (const { receiver } of this.#running.values()) receiver.check();
    this.#startWaiting();
  }

  async #watch({ id, client }: Safekeeper): Promise<void> {
    const { signal } = this.#stop;
    const { log } = this.#options;
    let sinceUnixMs = 0;
    let isReported = false;
    while (!signal.aborted) {
      try {
        for await (const { advances } of client.watchTimelines({ sinceUnixMs }, { signal })) {
          isReported = false;
          for (const { timelineId, commitLsn, changedUnixMs } of advances) {
            this.#announce(timelineId, { lsn: toLsnNumber(commitLsn), safekeeper: id });
            sinceUnixMs = Math.max(sinceUnixMs, changedUnixMs);
          }
        }
      } catch (error) {
        if (!signal.aborted && !isReported) log.info({ err: error, safekeeper: id }, 'safekeeper is not watched, keeps trying');
        isReported = true;
      }
      await this.#clock.sleep(WATCH_RETRY_MS, signal).catch(() => undefined);
    }
  }
}
