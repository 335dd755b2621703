import { TOMBSTONE, decodeSlruSegmentSize, encodeSlruSegmentSize, zeroSlruPage } from '@coppice/postgres';
import type { PageValue } from '@coppice/postgres';
import { SLRU_PAGES_PER_SEGMENT, slruPageKey, slruSegmentSizeKey } from '@coppice/vocabulary';
import type { LsnNumber, PageKey, SlruNumber } from '@coppice/vocabulary';
import { TOMBSTONE_VALUE, withoutBase } from './block-value';
import type { IngestTarget, RecordSpan } from './ingest-target';

/** Segments remembered for one timeline. */
const MAX_SEGMENTS = 256;

/** Pages of SLRUs put by page number, with the sizes of their segments kept exact. */
export class SlruSizes {
  readonly #target: IngestTarget;
  readonly #pages = new Map<number, number>();
  readonly #changed = new Map<number, PageKey>();

  constructor(target: IngestTarget) {
    this.#target = target;
  }

  /** Puts a page's next value; a promise only when the segment's size must be read first. */
  change(slru: SlruNumber, page: number, value: PageValue, record: RecordSpan): void | Promise<void> {
    const segment = Math.floor(page / SLRU_PAGES_PER_SEGMENT);
    const pages = this.#pages.get(slotOf(slru, segment));
    if (pages === undefined)
      return this.#load(slru, segment, record.lsn).then(() => this.change(slru, page, value, record));
    const isNew = this.#grow(slru, segment, page, pages, record.endLsn);
    this.#target.put(slruPageKey(slru, page), record.endLsn, isNew ? withoutBase(value) : value);
  }

  /** Makes a page of zeros. `unlessThere`: only when the segment does not reach it yet. */
  zero(slru: SlruNumber, page: number, unlessThere: boolean, record: RecordSpan): void | Promise<void> {
    const segment = Math.floor(page / SLRU_PAGES_PER_SEGMENT);
    const pages = this.#pages.get(slotOf(slru, segment));
    if (pages === undefined) {
      return this.#load(slru, segment, record.lsn).then(() => this.zero(slru, page, unlessThere, record));
    }
    if (unlessThere && page % SLRU_PAGES_PER_SEGMENT < pages) return;
    this.#grow(slru, segment, page, pages, record.endLsn);
    this.#target.put(slruPageKey(slru, page), record.endLsn, zeroSlruPage());
  }

  /** Removes a segment that exists. */
  remove(slru: SlruNumber, segment: number): void {
    this.#pages.set(slotOf(slru, segment), 0);
    this.#changed.set(slotOf(slru, segment), slruSegmentSizeKey(slru, segment));
  }

  async #load(slru: SlruNumber, segment: number, lsn: LsnNumber): Promise<void> {
    const bytes = await this.#target.read(slruSegmentSizeKey(slru, segment), lsn);
    this.#pages.set(slotOf(slru, segment), bytes ? decodeSlruSegmentSize(bytes) : 0);
  }

  /** Extends the segment to hold the page; pages skipped on the way are zeros. Whether the page is new. */
  #grow(slru: SlruNumber, segment: number, page: number, pages: number, endLsn: LsnNumber): boolean {
    const inSegment = page % SLRU_PAGES_PER_SEGMENT;
    if (inSegment < pages) return false;
    for (let gap = pages; gap < inSegment; gap++) {
      this.#target.put(slruPageKey(slru, segment * SLRU_PAGES_PER_SEGMENT + gap), endLsn, TOMBSTONE_VALUE);
    }
    this.#pages.set(slotOf(slru, segment), inSegment + 1);
    this.#changed.set(slotOf(slru, segment), slruSegmentSizeKey(slru, segment));
    return true;
  }

  /** Puts the sizes that the record changed. */
  store(endLsn: LsnNumber): void {
    if (this.#changed.size === 0) return;
    for (const [slot, key] of this.#changed) {
      const pages = this.#pages.get(slot)!;
      this.#target.put(key, endLsn, {
        kind: 'image',
        bytes: pages > 0 ? encodeSlruSegmentSize(pages) : TOMBSTONE,
      });
    }
    this.#changed.clear();
    if (this.#pages.size > MAX_SEGMENTS) this.#pages.clear();
  }
}

function slotOf(slru: SlruNumber, segment: number): number {
  return slru * 2 ** 32 + segment;
}
