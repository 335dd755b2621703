/**
 * Fetches pages for many server processes at once: a page that is asked for twice is fetched once, and requests that
 * find all fetches busy are sent together.
 *
 *   wanted ──┐                ┌─ fetching (at most `maxFetches`, `maxBatch` pages each) ─► answered, forgotten
 *            ├─► queue ──────►│
 *   ahead ───┘  wanted first  └─ the same ─► kept until wanted (at most `maxAhead`, oldest dropped first)
 *
 * A page that was answered is forgotten here: it is in the compute's file now and will not be asked for again.
 */
import { CoppiceError, withDeadline } from '@coppice/service-kit';
import { BLOCK_SIZE, type PageKey } from '@coppice/vocabulary';
import { aheadPages, fetchedPages, usedAheadPages } from './metrics';

/** Where pages come from: the pageserver at the compute's start position. */
export interface PageProvider {
  /** One 8 KiB page per key, in the order of the keys. */
  getPages(keys: readonly PageKey[], signal: AbortSignal): Promise<readonly Uint8Array[]>;
}

export interface BatcherLimits {
  readonly maxFetches: number;
  readonly maxBatch: number;
  readonly maxAhead: number;
  /** Shorter than the minute after which the interposer gives up. */
  readonly deadlineMs: number;
}

export const DEFAULT_LIMITS: BatcherLimits = {
  maxFetches: 16,
  maxBatch: 128,
  maxAhead: 4096,
  deadlineMs: 45_000,
};

interface Batch {
  readonly cancel: AbortController;
  readonly entries: Entry[];
}

interface Entry {
  readonly key: PageKey;
  readonly page: Promise<Uint8Array>;
  readonly resolve: (page: Uint8Array) => void;
  readonly reject: (error: unknown) => void;
  /** Requests that wait for it. */
  waiting: number;
  /** Fetched before anybody asked: kept when nobody waits. */
  ahead: boolean;
  batch: Batch | undefined;
  ready: boolean;
}

export class MissBatcher {
  readonly #provider: PageProvider;
  readonly #limits: BatcherLimits;
  readonly #entries = new Map<PageKey, Entry>();
  readonly #wanted = new Set<Entry>();
  readonly #ahead = new Set<Entry>();
  readonly #fetches = new Set<Batch>();
  #aheadEntries = 0;

  constructor(provider: PageProvider, limits: Partial<BatcherLimits> = {}) {
    this.#provider = provider;
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
  }

  /** The pages of these keys. What nobody else wants either is cancelled with the signal. */
  async fetch(keys: readonly PageKey[], signal: AbortSignal): Promise<Uint8Array[]> {
    signal.throwIfAborted();
    const entries = keys.map((key) => this.#want(key));
    this.#pump();
    const cancelled = new AbortController();
    try {
      return await Promise.race([
        Promise.all(entries.map((e) => e.page)),
        rejectedBy(signal, cancelled.signal),
      ]);
    } finally {
      cancelled.abort();
      for (const entry of entries) this.#leave(entry);
      this.#pump();
    }
  }

  /** Fetches pages that will probably be wanted, as far as there is room. */
  prefetch(keys: readonly PageKey[]): void {
    for (const key of keys) {
      if (this.#entries.has(key)) continue;
      if (this.#aheadEntries >= this.#limits.maxAhead && !this.#dropOldest()) break;
      const entry = this.#add(key);
      this.#setAhead(entry, true);
      this.#ahead.add(entry);
    }
    this.#pump();
  }

  /** Cancels everything under way. */
  stop(): void {
    const error = new CoppiceError('Unavailable', 'page-source-stopped', 'the page source has stopped');
    for (const entry of this.#entries.values()) entry.reject(error);
    for (const fetch of this.#fetches) fetch.cancel.abort(error);
    this.#entries.clear();
    this.#wanted.clear();
    this.#ahead.clear();
    this.#aheadEntries = 0;
  }

  #want(key: PageKey): Entry {
    const entry = this.#entries.get(key) ?? this.#add(key);
    entry.waiting += 1;
    if (entry.ahead) {
      usedAheadPages.inc();
      this.#setAhead(entry, false);
    }
    if (!entry.batch && !entry.ready) {
      this.#ahead.delete(entry);
      this.#wanted.add(entry);
    }
    return entry;
  }

  #leave(entry: Entry): void {
    entry.waiting -= 1;
    if (entry.waiting > 0) return;
    this.#forget(entry);
    const { batch } = entry;
    if (batch && !entry.ready && batch.entries.every((e) => e.waiting === 0 && !e.ahead))
      batch.cancel.abort();
  }

  #add(key: PageKey): Entry {
    let resolve!: Entry['resolve'];
    let reject!: Entry['reject'];
    const page = new Promise<Uint8Array>((yes, no) => {
      resolve = yes;
      reject = no;
    });
    page.catch(() => undefined);
    const entry: Entry = {
      key,
      page,
      resolve,
      reject,
      waiting: 0,
      ahead: false,
      batch: undefined,
      ready: false,
    };
    this.#entries.set(key, entry);
    return entry;
  }

  #forget(entry: Entry): void {
    if (this.#entries.get(entry.key) === entry) this.#entries.delete(entry.key);
    this.#wanted.delete(entry);
    this.#ahead.delete(entry);
    this.#setAhead(entry, false);
  }

  #setAhead(entry: Entry, ahead: boolean): void {
    if (entry.ahead !== ahead) this.#aheadEntries += ahead ? 1 : -1;
    entry.ahead = ahead;
  }

  #dropOldest(): boolean {
    for (const entry of this.#entries.values()) {
      if (!entry.ahead || !entry.ready) continue;
      this.#forget(entry);
      return true;
    }
    return false;
  }

  #pump(): void {
    while (this.#fetches.size < this.#limits.maxFetches && this.#wanted.size + this.#ahead.size > 0) {
      const queue = this.#wanted.size > 0 ? this.#wanted : this.#ahead;
      const batch: Batch = { cancel: new AbortController(), entries: [] };
      for (const entry of queue) {
        if (batch.entries.length === this.#limits.maxBatch) break;
        queue.delete(entry);
        entry.batch = batch;
        batch.entries.push(entry);
      }
      this.#fetches.add(batch);
      void this.#run(batch);
    }
  }

  /** Never rejects: the outcome goes to who waits for the entries. */
  async #run(batch: Batch): Promise<void> {
    const { entries } = batch;
    try {
      const signal = withDeadline(this.#limits.deadlineMs, batch.cancel.signal);
      const pages = await this.#provider.getPages(
        entries.map((e) => e.key),
        signal,
      );
      entries.forEach((entry, i) => {
        const page = pages[i];
        if (page?.length !== BLOCK_SIZE)
          throw new CoppiceError('Corrupt', 'page-size', `a page of ${page?.length ?? 0} bytes was answered`);
        entry.ready = true;
        entry.resolve(page);
      });
      fetchedPages.inc(entries.length);
      aheadPages.inc(entries.filter((e) => e.ahead).length);
    } catch (error) {
      for (const entry of entries) {
        this.#forget(entry);
        entry.reject(error);
      }
    } finally {
      this.#fetches.delete(batch);
      this.#pump();
    }
  }
}

function rejectedBy(signal: AbortSignal, until: AbortSignal): Promise<never> {
  return new Promise((_, reject) =>
    signal.addEventListener('abort', () => reject(signal.reason), { once: true, signal: until }),
  );
}
