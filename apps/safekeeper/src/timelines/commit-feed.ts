import type { Clock } from '@coppice/service-kit';
import type { Lsn, TimelineId } from '@coppice/vocabulary';

export interface CommitAdvance {
  readonly timelineId: TimelineId;
  readonly commitLsn: Lsn;
  readonly changedUnixMs: number;
}

interface Watcher {
  readonly pending: Map<TimelineId, CommitAdvance>;
  wake: () => void;
}

/** Advances in one message. */
const BATCH = 1000;
/** A watcher hears of a busy timeline at most this often. */
const PAUSE_MS = 50;

/** Tells watchers which timelines moved. A slow watcher holds one entry per timeline: the newest. */
export class CommitFeed {
  readonly #clock: Clock;
  readonly #watchers = new Set<Watcher>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  publish(timelineId: TimelineId, commitLsn: Lsn): void {
    if (this.#watchers.size === 0) return;
    const advance = { timelineId, commitLsn, changedUnixMs: this.#clock.now() };
    for (const watcher of this.#watchers) {
      watcher.pending.set(timelineId, advance);
      watcher.wake();
    }
  }

  /** Everything published from now on, until the signal fires. */
  async *watch(signal: AbortSignal): AsyncGenerator<CommitAdvance[]> {
    const watcher: Watcher = { pending: new Map(), wake: () => undefined };
    this.#watchers.add(watcher);
    const onAbort = (): void => watcher.wake();
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted) {
        if (watcher.pending.size === 0) {
          await new Promise<void>((resolve) => (watcher.wake = resolve));
          continue;
        }
        const batch = [...watcher.pending.values()].slice(0, BATCH);
        for (const { timelineId } of batch) watcher.pending.delete(timelineId);
        yield batch;
        if (watcher.pending.size < BATCH) await this.#clock.sleep(PAUSE_MS, signal).catch(() => undefined);
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#watchers.delete(watcher);
    }
  }
}
