import { CoppiceError } from '@coppice/service-kit';
import type { LsnNumber, PageKey } from '@coppice/vocabulary';
import type { LayerReader } from '../storage/layer-reader';
import type { Timeline } from '../storage/timeline';
import type { PageCache } from './page-cache';
import { rebuildPage } from './rebuild-page';
import { scanKeys } from './scan-keys';
import { PageSearch, searchTimeline } from './search-timeline';

/** Keys whose values a scan looks up at once; the first batch is small, for callers that want only the first key. */
const FIRST_BATCH = 16;
const MAX_BATCH = 512;

/** Reads what a timeline holds at a position. The position must have been ingested: `waitForLsn` sees to that. */
export class TimelineReader {
  readonly #layers: LayerReader;
  readonly #pages: PageCache;

  constructor(layers: LayerReader, pages: PageCache) {
    this.#layers = layers;
    this.#pages = pages;
  }

  /** The newest values of non-page keys; undefined where there is none or a tombstone. */
  async values(timeline: Timeline, keys: readonly PageKey[], lsn: LsnNumber, signal?: AbortSignal): Promise<(Buffer | undefined)[]> {
    const searches = keys.map((key) => new PageSearch(key, lsn));
    await searchTimeline(timeline, searches, { layers: this.#layers, signal });
    return searches.map(({ values, key }) => {
      const value = values[0];
      if (value === undefined || value.bytes.length === 0) return undefined;
      if (value.kind !== 'image') throw new CoppiceError('Internal', 'not-a-value', `key ${Buffer.from(key, 'latin1').toString('hex')} is a page`);
      return value.bytes;
    });
  }

  /** Pages rebuilt as of `lsn`; undefined where the page does not exist. Shared: not to be changed. */
  async pages(timeline: Timeline, keys: readonly PageKey[], lsn: LsnNumber, signal?: AbortSignal): Promise<(Buffer | undefined)[]> {
    const searches = keys.map((key) => new PageSearch(key, lsn));
    await searchTimeline(timeline, searches, { layers: this.#layers, pages: this.#pages, signal });
    return searches.map((search) => {
      const page = rebuildPage(search);
      const wasRebuilt = search.values.length > 0 && search.values[0]!.kind !== 'image';
      if (page !== undefined && wasRebuilt) this.#pages.keep(search.owner!.serial, search.key, { lsn: search.lsns[0]!, page });
      return page;
    });
  }

  /** All non-page keys in `[from, to)` that exist at `lsn`, ascending, with their values. */
  async *scan(timeline: Timeline, range: { from: PageKey; to: PageKey }, lsn: LsnNumber, signal?: AbortSignal): AsyncGenerator<readonly [PageKey, Buffer]> {
    let batch: PageKey[] = [];
    let limit = FIRST_BATCH;
    for await (const key of scanKeys(timeline, range, lsn, this.#layers)) {
      batch.push(key);
      if (batch.length < limit) continue;
      yield* this.#present(timeline, batch, lsn, signal);
      batch = [];
      limit = Math.min(MAX_BATCH, limit * 2);
    }
    yield* this.#present(timeline, batch, lsn, signal);
  }

  async *#present(timeline: Timeline, keys: readonly PageKey[], lsn: LsnNumber, signal?: AbortSignal): AsyncGenerator<readonly [PageKey, Buffer]> {
    if (keys.length === 0) return;
    const values = await this.values(timeline, keys, lsn, signal);
    for (let i = 0; i < keys.length; i += 1) {
      const value = values[i];
      if (value !== undefined) yield [keys[i]!, value];
    }
  }
}
