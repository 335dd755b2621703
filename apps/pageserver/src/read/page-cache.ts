import type { LsnNumber, PageKey } from '@coppice/vocabulary';
import { LruCache } from '../storage/lru-cache';

interface CachedPage {
  readonly lsn: LsnNumber;
  readonly page: Buffer;
}

const VERSIONS_PER_PAGE = 4;
const OVERHEAD_BYTES = 300;

/**
 * Rebuilt pages, by the timeline that owns their newest version and that version's LSN: children find their parents'
 * pages. A page is shared by all who get it and must not be changed.
 */
export class PageCache {
  readonly #pages: LruCache<string, readonly CachedPage[]>;

  constructor(maxBytes: number) {
    this.#pages = new LruCache(maxBytes);
  }

  /** The newest cached version at or below `lsn` of what a timeline itself has of the page. */
  find(timelineSerial: number, key: PageKey, lsn: LsnNumber): CachedPage | undefined {
    return this.#pages.get(cacheKey(timelineSerial, key))?.find((cached) => cached.lsn <= lsn);
  }

  /** Keeps the page as its version at `lsn` left it. */
  keep(timelineSerial: number, key: PageKey, cached: CachedPage): void {
    const name = cacheKey(timelineSerial, key);
    const others = (this.#pages.get(name) ?? []).filter((other) => other.lsn !== cached.lsn);
    const versions = [cached, ...others].slice(0, VERSIONS_PER_PAGE).sort((a, b) => b.lsn - a.lsn);
    this.#pages.set(name, versions, versions.reduce((sum, { page }) => sum + page.length, OVERHEAD_BYTES));
  }
}

function cacheKey(timelineSerial: number, key: PageKey): string {
  return `${timelineSerial} ${key}`;
}
