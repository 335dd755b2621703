import { tagNeedsNoBase } from '@coppice/layers';
import type { LsnNumber, PageKey } from '@coppice/vocabulary';
import type { TimelineReader } from '../read/timeline-reader';
import type { Timeline } from '../storage/timeline';

/** A chain of records is at most so long before a version is stored as an image. */
export const MAX_CHAIN = 32;

/**
 * Puts images into long chains of records, so that no read has to apply more than a few. The reader keeps the page it
 * rebuilt last, so a chain is walked once.
 */
export class PageImager {
  readonly #timeline: Timeline;
  readonly #reader: TimelineReader;
  #key: PageKey | undefined;
  #chain = 0;

  constructor(timeline: Timeline, reader: TimelineReader) {
    this.#timeline = timeline;
    this.#reader = reader;
  }

  /** Whether this version should be stored as an image. Versions come in (key, LSN) order. */
  isDue(key: PageKey, tag: number): boolean {
    if (key !== this.#key) {
      this.#key = key;
      this.#chain = 0;
    }
    this.#chain = tagNeedsNoBase(tag) ? 0 : this.#chain + 1;
    if (this.#chain < MAX_CHAIN) return false;
    this.#chain = 0;
    return true;
  }

  /** The page as a version left it; undefined when it is a tombstone. */
  async image(key: PageKey, lsn: LsnNumber): Promise<Buffer | undefined> {
    return (await this.#reader.pages(this.#timeline, [key], lsn))[0];
  }
}
