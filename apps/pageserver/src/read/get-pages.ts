import { decodeRelationSize, decodeSlruSegmentSize } from '@coppice/postgres';
import { CoppiceError } from '@coppice/service-kit';
import type { LsnNumber, PageKey, SlruNumber } from '@coppice/vocabulary';
import { BLOCK_SIZE, formatLsn, formatPageKey, KeyKind, pageKeyFields, relationOfKey, relationSizeKey, SLRU_PAGES_PER_SEGMENT, slruSegmentSizeKey } from '@coppice/vocabulary';
import { LruCache } from '../storage/lru-cache';
import type { Timeline } from '../storage/timeline';
import type { TimelineReader } from './timeline-reader';

const ZERO_PAGE = Buffer.alloc(BLOCK_SIZE);
const SIZE_CACHE_BYTES = 4 * 1024 * 1024;
const SIZE_ENTRY_BYTES = 160;

/**
 * Serves pages to computes: what lies within its relation (or SLRU segment) is a page, of zeros when it was never
 * written; what lies beyond is an error, never a page.
 */
export class PageServer {
  readonly #reader: TimelineReader;
  /** Sizes at positions; a compute asks at one position all its life. */
  readonly #sizes = new LruCache<string, number>(SIZE_CACHE_BYTES);

  constructor(reader: TimelineReader) {
    this.#reader = reader;
  }

  /** Pages of the timeline as of `lsn`, in the order of the keys. The position must have been ingested. */
  async getPages(timeline: Timeline, keys: readonly PageKey[], lsn: LsnNumber, signal?: AbortSignal): Promise<Buffer[]> {
    const sizeKeys = keys.map(sizeKeyOf);
    const sizes = await this.#sizesAt(timeline, [...new Set(sizeKeys)], lsn, signal);
    keys.forEach((key, i) => {
      const size = sizes.get(sizeKeys[i]!);
      if (size !== undefined && placeWithin(key) < size) return;
      throw new CoppiceError('NotFound', 'block-beyond-end', `${formatPageKey(key)} is beyond the ${size ?? 'absent'} blocks at ${formatLsn(lsn)}`, {
        remedy: 'Ask only for blocks within the sizes of the compute image.',
      });
    });
    const pages = await this.#reader.pages(timeline, keys, lsn, signal);
    return pages.map((page) => page ?? ZERO_PAGE);
  }

  /** The same of pages that may not exist. */
  async existing(timeline: Timeline, keys: readonly PageKey[], lsn: LsnNumber, signal?: AbortSignal): Promise<(Buffer | undefined)[]> {
    const sizeKeys = keys.map(sizeKeyOf);
    const sizes = await this.#sizesAt(timeline, [...new Set(sizeKeys)], lsn, signal);
    const isThere = (key: PageKey, i: number): boolean => placeWithin(key) < (sizes.get(sizeKeys[i]!) ?? 0);
    const pages = await this.#reader.pages(timeline, keys.filter(isThere), lsn, signal);
    let next = 0;
    return keys.map((key, i) => (isThere(key, i) ? (pages[next++] ?? ZERO_PAGE) : undefined));
  }

  async #sizesAt(timeline: Timeline, keys: readonly PageKey[], lsn: LsnNumber, signal?: AbortSignal): Promise<Map<PageKey, number | undefined>> {
    const sizes = new Map<PageKey, number | undefined>();
    const missing: PageKey[] = [];
    for (const key of keys) {
      const cached = this.#sizes.get(`${timeline.serial} ${lsn} ${key}`);
      if (cached === undefined) missing.push(key);
      else sizes.set(key, cached);
    }
    if (missing.length === 0) return sizes;
    const values = await this.#reader.values(timeline, missing, lsn, signal);
    missing.forEach((key, i) => {
      const value = values[i];
      if (value === undefined) return;
      const size = key.charCodeAt(0) === KeyKind.relationSize ? decodeRelationSize(value) : decodeSlruSegmentSize(value);
      this.#sizes.set(`${timeline.serial} ${lsn} ${key}`, size, SIZE_ENTRY_BYTES);
      sizes.set(key, size);
    });
    return sizes;
  }
}

function sizeKeyOf(key: PageKey): PageKey {
  const { kind, tablespace, block } = pageKeyFields(key);
  if (kind === KeyKind.relationBlock) return relationSizeKey(relationOfKey(key));
  if (kind === KeyKind.slruPage) return slruSegmentSizeKey(tablespace as SlruNumber, Math.floor(block / SLRU_PAGES_PER_SEGMENT));
  throw new CoppiceError('Invalid', 'not-a-page', `${formatPageKey(key)} is not a page`, { remedy: 'Ask for relation blocks and SLRU pages only.' });
}

function placeWithin(key: PageKey): number {
  const { kind, block } = pageKeyFields(key);
  return kind === KeyKind.relationBlock ? block : block % SLRU_PAGES_PER_SEGMENT;
}
