/**
 * The versions of one key that a read needs, gathered from newest to oldest until one needs no base.
 */
import type { PageValue } from '@coppice/postgres';
import type { LsnNumber, PageKey } from '@coppice/vocabulary';
import { pageKeyToBytes } from '@coppice/vocabulary';
import type { LayerBlock } from './layer-block';
import { tagNeedsNoBase, valueOfTag } from './layer-block';

export class VersionSearch {
  readonly key: PageKey;
  readonly keyBytes: Buffer;
  /** Newest first. */
  readonly values: PageValue[] = [];
  readonly lsns: LsnNumber[] = [];
  /** Only versions at or below this LSN; sinks with every version taken, and when the search goes on to an ancestor. */
  lsn: LsnNumber;
  /** Versions at or below this LSN are not needed: what they give is already at hand. */
  floor: LsnNumber = 0;
  /** Nothing older is needed. */
  done = false;

  constructor(key: PageKey, lsn: LsnNumber) {
    this.key = key;
    this.keyBytes = pageKeyToBytes(key);
    this.lsn = lsn;
  }

  /** The image layer that answers comes next: what it has is needed, whatever the floor was. */
  enterImage(): void {
    this.floor = 0;
  }

  /** Takes a version; they must come from newest to oldest. The search goes on below it. */
  take(lsn: LsnNumber, tag: number, bytes: Buffer): void {
    this.values.push(valueOfTag(tag, bytes));
    this.lsns.push(lsn);
    this.lsn = lsn - 1;
    if (tagNeedsNoBase(tag)) this.done = true;
  }

  /**
   * Takes what the block has of the key, from its newest version at or below `lsn` down. True when an earlier block may
   * have more of it.
   */
  takeFrom(block: LayerBlock): boolean {
    const end = block.lowerBound(this.keyBytes, this.lsn + 1);
    for (let index = end - 1; index >= 0; index -= 1) {
      if (block.compareKey(index, this.keyBytes) !== 0) return false;
      const lsn = block.lsn(index);
      if (lsn <= this.floor) return false;
      this.take(lsn, block.tag(index), block.bytes(index));
      if (this.done) return false;
    }
    return true;
  }
}
