import { planReads, VersionSearch } from '@coppice/layers';
import type { LsnNumber, PageKey } from '@coppice/vocabulary';
import type { LayerReader } from '../storage/layer-reader';
import type { Timeline } from '../storage/timeline';
import type { PageCache } from './page-cache';

/** A search for what rebuilds a page: versions, and perhaps a cached page that they apply to. */
export class PageSearch extends VersionSearch {
  /** A page to start from when no version does without. */
  base: Buffer | undefined;
  baseLsn: LsnNumber = 0;
  /** Whose version is the newest. */
  owner: Timeline | undefined;
}

/**
 * Finds the versions of each search: in memory, then in layers from the newest on, then in the ancestors at their branch
 * points. With a page cache, a cached page of the timeline at hand ends the search where its version stands.
 */
export async function searchTimeline(
  timeline: Timeline,
  searches: readonly PageSearch[],
  { layers, pages, signal }: { layers: LayerReader; pages?: PageCache | undefined; signal?: AbortSignal | undefined },
): Promise<void> {
  let pending = searches;
  for (let at: Timeline | undefined = timeline; at !== undefined && pending.length > 0; ) {
    if (pages) for (const search of pending) startFromCache(search, at, pages);
    at.searchMemory(pending);
    for (const { layer, searches: asked } of planReads(at.layers, pending)) {
      const open = asked.filter((search) => !search.done);
      if (open.length === 0) continue;
      await layers.search(layer, open);
      signal?.throwIfAborted();
      // An image layer has every key of its range: what it lacks does not exist.
      if (layer.kind === 'image') {
        for (const search of open as PageSearch[]) {
          search.done = true;
          search.base = undefined;
        }
      }
    }
    for (const search of pending) {
      if (search.values.length > 0) search.owner ??= at;
      if (search.base !== undefined) {
        search.owner ??= at;
        search.done = true;
      }
    }
    const { ancestor }: Timeline = at;
    pending = pending.filter((search) => !search.done);
    if (ancestor) {
      for (const search of pending) {
        search.lsn = Math.min(search.lsn, ancestor.lsn);
        search.floor = 0;
      }
    }
    at = ancestor?.timeline;
  }
}

function startFromCache(search: PageSearch, timeline: Timeline, pages: PageCache): void {
  const cached = pages.find(timeline.serial, search.key, search.lsn);
  if (cached === undefined) return;
  search.base = cached.page;
  search.baseLsn = cached.lsn;
  search.floor = cached.lsn;
}

/** One search of its own. */
export function pageSearch(key: PageKey, lsn: LsnNumber): PageSearch {
  return new PageSearch(key, lsn);
}
