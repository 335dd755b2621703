import { TOMBSTONE, decodeRelationSize, encodeRelationSize } from '@coppice/postgres';
import { Fork, relationBlockPrefix, relationSizeKey } from '@coppice/vocabulary';
import type { LsnNumber, PageKey, RelationFork } from '@coppice/vocabulary';
import type { IngestTarget } from './ingest-target';

/** Forks remembered for one timeline; the least recently loaded is forgotten first. */
const MAX_FORKS = 4096;

/** What is known of one relation fork. Changed only through `ForkSizes`. */
export interface ForkSize {
  readonly fork: RelationFork;
  /** First bytes of the keys of its blocks. */
  readonly blockPrefix: string;
  readonly sizeKey: PageKey;
  exists: boolean;
  blocks: number;
  /** Blocks before the record that is being applied. */
  blocksBefore: number;
  changed: boolean;
  /** Another fork with the same relation number, in another database. */
  next: ForkSize | undefined;
}

/**
 * Sizes of the relation forks of one timeline, remembered so that most records are applied without a read. A record's
 * changes stay here until `store` puts one size per changed fork.
 */
export class ForkSizes {
  readonly #target: IngestTarget;
  readonly #known = new Map<number, ForkSize>();
  readonly #changed: ForkSize[] = [];
  #count = 0;

  constructor(target: IngestTarget) {
    this.#target = target;
  }

  /** The fork's size if it is remembered. */
  peek(fork: RelationFork): ForkSize | undefined {
    let known = this.#known.get(slotOf(fork));
    while (known && (known.fork.database !== fork.database || known.fork.tablespace !== fork.tablespace))
      known = known.next;
    return known;
  }

  /** The fork's size before the record that starts at `lsn`, read if it must be. */
  async load(fork: RelationFork, lsn: LsnNumber): Promise<ForkSize> {
    const known = this.peek(fork);
    if (known) return known;
    const sizeKey = relationSizeKey(fork);
    const bytes = await this.#target.read(sizeKey, lsn);
    const blocks = bytes ? decodeRelationSize(bytes) : 0;
    return this.#remember({
      fork,
      blockPrefix: relationBlockPrefix(fork),
      sizeKey,
      exists: bytes !== undefined,
      blocks,
      blocksBefore: blocks,
      changed: false,
      next: undefined,
    });
  }

  #remember(size: ForkSize): ForkSize {
    if (this.#count >= MAX_FORKS) this.#forgetOldest();
    const slot = slotOf(size.fork);
    size.next = this.#known.get(slot);
    this.#known.delete(slot);
    this.#known.set(slot, size);
    this.#count += 1;
    return size;
  }

  #forgetOldest(): void {
    for (const [slot, first] of this.#known) {
      let length = 0;
      for (let one: ForkSize | undefined = first; one; one = one.next) {
        if (one.changed) length = Number.NEGATIVE_INFINITY;
        length += 1;
      }
      if (length < 0) continue;
      this.#known.delete(slot);
      this.#count -= length;
      return;
    }
  }

  /** Sets the size; the fork exists from now on. */
  resize(size: ForkSize, blocks: number): void {
    this.#touch(size);
    size.exists = true;
    size.blocks = blocks;
  }

  /** The fork goes. */
  drop(size: ForkSize): void {
    if (!size.exists) return;
    this.#touch(size);
    size.exists = false;
    size.blocks = 0;
  }

  #touch(size: ForkSize): void {
    if (size.changed) return;
    size.changed = true;
    this.#changed.push(size);
  }

  /** Puts the sizes that the record changed. */
  store(endLsn: LsnNumber): void {
    if (this.#changed.length === 0) return;
    let mainBlocks = 0;
    for (const size of this.#changed) {
      const bytes = size.exists ? encodeRelationSize(size.blocks) : TOMBSTONE;
      this.#target.put(size.sizeKey, endLsn, { kind: 'image', bytes });
      if (size.fork.fork === Fork.main) mainBlocks += size.blocks - size.blocksBefore;
      size.changed = false;
      size.blocksBefore = size.blocks;
    }
    this.#changed.length = 0;
    if (mainBlocks !== 0) this.#target.resize(mainBlocks);
  }

  /** Forgets everything: sizes were changed past this cache. Only between records. */
  forgetAll(): void {
    this.#known.clear();
    this.#count = 0;
  }
}

function slotOf(fork: RelationFork): number {
  return fork.relation * 4 + fork.fork;
}
