import { pickCompaction } from '@coppice/layers';
import type { ObjectStore } from '@coppice/object-store';
import type { Log, Part } from '@coppice/service-kit';
import { BackgroundLoop } from '@coppice/service-kit';
import type { TimelineReader } from '../read/timeline-reader';
import type { Attachment } from '../storage/attachment';
import type { LayerReader } from '../storage/layer-reader';
import type { Timeline } from '../storage/timeline';
import { compactTimeline } from './compact-timeline';

export interface CompactorOptions {
  readonly store: ObjectStore;
  readonly attachment: Attachment;
  readonly layers: LayerReader;
  readonly reader: TimelineReader;
  readonly log: Log;
  readonly loaded: () => Iterable<Timeline>;
}

const EVERY_MS = 5_000;

/** Keeps reads bounded: merges delta layers of one timeline after another, wherever there are too many. */
export class Compactor implements Part {
  readonly name = 'compactor';
  readonly #options: CompactorOptions;
  readonly #loop: BackgroundLoop;

  constructor(options: CompactorOptions) {
    this.#options = options;
    this.#loop = new BackgroundLoop({ name: 'compact', everyMs: EVERY_MS, log: options.log, run: (signal) => this.#round(signal) });
  }

  async start(): Promise<void> {
    this.#loop.start();
  }
  stop(): Promise<void> {
    return this.#loop.stop();
  }
  /** Looks again soon. */
  nudge(): void {
    this.#loop.nudge();
  }

  async #round(signal: AbortSignal): Promise<void> {
    for (const timeline of [...this.#options.loaded()]) {
      if (pickCompaction(timeline.layers, timeline.durableLsn) === undefined || !this.#isLoaded(timeline)) continue;
      signal.throwIfAborted();
      // Loaded anew meanwhile, the timeline would have two objects, and the older one's manifest could replace the newer's.
      timeline.pins += 1;
      try {
        await compactTimeline(timeline, this.#options, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (timeline.deletion) continue;
        this.#options.log.warn({ err: error, timeline: timeline.id }, 'compaction of a timeline fails, tries again later');
      } finally {
        timeline.pins -= 1;
      }
    }
  }

  /** Those that come later in a round may have left memory since it began. */
  #isLoaded(timeline: Timeline): boolean {
    for (const loaded of this.#options.loaded()) if (loaded === timeline) return true;
    return false;
  }
}
