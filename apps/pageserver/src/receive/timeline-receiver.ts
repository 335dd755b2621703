/**
 * Brings one timeline up to what its safekeepers have committed, and then follows them for a while. The safekeeper that
 * is furthest along serves; one that is lost or falls behind is left for another. Unsupported WAL, and damage that two
 * safekeepers give alike, end ingest of this timeline loudly: what was ingested stays readable, what comes after is
 * answered with the reason.
 */
import { anySignal } from '@coppice/service-kit';
import { CorruptWal, UnsupportedWal } from '@coppice/postgres';
import type { Clock, Log } from '@coppice/service-kit';
import { CoppiceError } from '@coppice/service-kit';
import type { LsnNumber } from '@coppice/vocabulary';
import { formatLsn } from '@coppice/vocabulary';
import type { TimelineReader } from '../read/timeline-reader';
import { IngestTimeline } from '../storage/ingest-timeline';
import type { Timeline } from '../storage/timeline';
import { isTimelineDeleted } from '../storage/tombstones';
import { receiveWal } from './receive-wal';
import type { Safekeeper } from './safekeepers';

export interface ReceiverOptions {
  readonly timeline: Timeline;
  readonly safekeepers: readonly Safekeeper[];
  readonly reader: TimelineReader;
  readonly clock: Clock;
  readonly log: Log;
  readonly onProgress: (timeline: Timeline) => void;
  readonly signal: AbortSignal;
}

/** No progress for so long while there is something to get: another safekeeper is tried. */
const STALL_MS = 3_000;
/** So long after the last news the stream is closed. */
const LINGER_MS = 10_000;
/** So long a safekeeper that gave nothing is not asked again, if there are others. */
const AVOID_MS = 2_000;
const RETRY_MS = [20, 100, 250, 500, 1000] as const;

export class TimelineReceiver {
  readonly #options: ReceiverOptions;
  readonly #end: AbortController;
  readonly #known = new Map<string, LsnNumber>();
  /** Safekeepers that ended a stream without giving anything. */
  readonly #avoidedUntilMs = new Map<string, number>();
  /** Who gave damaged WAL behind a position. */
  #damage: { readonly at: LsnNumber; readonly from: Set<string> } = { at: 0, from: new Set() };
  #stream = new AbortController();
  #target: LsnNumber = 0;
  #newsAtMs: number;
  #failures = 0;

  constructor(options: ReceiverOptions) {
    this.#options = options;
    this.#end = new AbortController();
    this.#newsAtMs = options.clock.monotonic();
  }

  /** The furthest position that is known to be committed or is waited for. */
  get target(): LsnNumber {
    return this.#target;
  }

  /** A safekeeper (or, without one, a reader) has or wants this position. */
  advance(lsn: LsnNumber, safekeeper?: string): void {
    if (safekeeper !== undefined) this.#known.set(safekeeper, Math.max(lsn, this.#known.get(safekeeper) ?? 0));
    if (lsn <= this.#target) return;
    this.#target = lsn;
    this.#newsAtMs = this.#options.clock.monotonic();
  }

  /** Fires when it shall end. */
  get ending(): AbortSignal {
    return anySignal([this.#options.signal, this.#end.signal]);
  }

  /** Receives no more. */
  end(): void {
    this.#end.abort();
  }

  /** Called every second or so: leaves a safekeeper that does not deliver, ends when nothing happens any more. */
  check(): void {
    const quietMs = this.#options.clock.monotonic() - this.#newsAtMs;
    const isBehind = this.#options.timeline.finished.lsn < this.#target;
    if (isBehind && quietMs >= STALL_MS) {
      this.#newsAtMs = this.#options.clock.monotonic();
      this.#stream.abort(new CoppiceError('Unavailable', 'safekeeper-stalls', 'the safekeeper sends nothing while there is more'));
    } else if (!isBehind && quietMs >= LINGER_MS) this.#end.abort();
  }

  /** Receives until there was no news for a while, the timeline failed, or the signal fires. */
  async run(): Promise<void> {
    const { timeline, clock } = this.#options;
    const { ending } = this;
    while (!ending.aborted && timeline.failure === undefined) {
      const safekeeper = this.#choose();
      const before = timeline.finished.lsn;
      this.#stream = new AbortController();
      const streaming = anySignal([ending, this.#stream.signal]);
      try {
        await this.#receive(safekeeper, streaming);
      } catch (error) {
        if (ending.aborted) return;
        this.#stream.abort(error);
        // Only the control-plane deletes, and never to give the id again: one safekeeper's word is enough.
        if (isTimelineDeleted(error)) return timeline.fail(error);
        if (this.#isFatal(error) && !this.#mayBeOneDisk(error, safekeeper)) return this.#fail(error);
        if (timeline.finished.lsn === before) this.#avoidedUntilMs.set(safekeeper.id, clock.monotonic() + AVOID_MS);
        this.#options.log.debug({ err: error, safekeeper: safekeeper.id, timeline: timeline.id }, 'wal stream ends, tries another safekeeper');
      }
      await this.#pause(ending);
    }
  }

  async #receive(safekeeper: Safekeeper, signal: AbortSignal): Promise<void> {
    const { timeline, reader, onProgress, clock } = this.#options;
    const target = new IngestTimeline(timeline, reader, signal);
    let reached = timeline.finished.lsn;
    await receiveWal({
      timeline,
      target,
      safekeeper: safekeeper.client,
      signal,
      onProgress: (commitLsn) => {
        this.advance(commitLsn, safekeeper.id);
        if (timeline.finished.lsn === reached) return;
        reached = timeline.finished.lsn;
        this.#failures = 0;
        this.#newsAtMs = clock.monotonic();
        onProgress(timeline);
      },
    });
  }

  /** The furthest along of those that did not just fail; those not heard of in turn. */
  #choose(): Safekeeper {
    const { safekeepers, clock } = this.#options;
    const now = clock.monotonic();
    const rank = ({ id }: Safekeeper): number => ((this.#avoidedUntilMs.get(id) ?? 0) > now ? -1 : (this.#known.get(id) ?? 0));
    let best = safekeepers[this.#failures % safekeepers.length]!;
    for (const safekeeper of safekeepers) if (rank(safekeeper) > rank(best)) best = safekeeper;
    return best;
  }

  #isFatal(error: unknown): boolean {
    if (error instanceof CorruptWal || error instanceof UnsupportedWal) return true;
    if (error instanceof CoppiceError) return error.kind === 'Corrupt' || error.kind === 'Internal';
    return (error as Error).name !== 'AbortError';
  }

  /** Damage that only one safekeeper has shown yet: the others may have the record whole. */
  #mayBeOneDisk(error: unknown, { id }: Safekeeper): boolean {
    if (!(error instanceof CorruptWal)) return false;
    const { timeline, safekeepers, log } = this.#options;
    const at = timeline.finished.lsn;
    if (this.#damage.at !== at) this.#damage = { at, from: new Set() };
    const { from } = this.#damage;
    if (!from.has(id)) log.warn({ err: error, safekeeper: id, timeline: timeline.id, lsn: formatLsn(at) }, 'a safekeeper gives damaged wal, tries another');
    from.add(id);
    return from.size < Math.min(2, safekeepers.length);
  }

  #fail(error: unknown): void {
    const { timeline, log } = this.#options;
    const at = formatLsn(timeline.finished.lsn);
    const why = error instanceof Error ? error.message : String(error);
    log.error({ err: error, timeline: timeline.id, lsn: at }, 'ingest of a timeline stops');
    timeline.fail(
      new CoppiceError('Corrupt', 'ingest-stopped', `ingest of timeline ${timeline.id} stopped at ${at}: ${why}`, {
        cause: error,
        remedy: `Branch from ${at} or earlier, and report this record.`,
      }),
    );
  }

  async #pause(signal: AbortSignal): Promise<void> {
    const ms = RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)]!;
    this.#failures += 1;
    await this.#options.clock.sleep(ms, signal).catch(() => undefined);
  }
}
