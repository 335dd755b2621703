import type { DatabasePlace, RelationFile, TruncatedForks } from '@coppice/postgres';
import { HEAP_BLOCKS_PER_VM_PAGE } from '@coppice/postgres';
import { BLOCK_SIZE, Fork, type RelationFork } from '@coppice/vocabulary';
import type { BasePages } from './base-pages';

const VM_HEADER_BYTES = 24;

/** The pages of a cluster while its WAL is replayed: those that changed, above those of the files at the start. */
export class PageStore {
  readonly #base: BasePages;
  /** Relation fork → block → page. */
  readonly #changed = new Map<string, Map<number, Buffer>>();
  /** Relation forks whose files at the start no longer count, from this block on. */
  readonly #cut = new Map<string, number>();
  /** Databases copied whole: where their files at the start are. */
  readonly #copies = new Map<string, DatabasePlace>();
  readonly #dropped = new Set<string>();
  /** Visibility maps whose bits the WAL did not carry. */
  readonly #partialMaps = new Set<string>();

  constructor(base: BasePages) {
    this.#base = base;
  }

  /** The page, zeros when there is none; the caller changes it in place. */
  forWriting(fork: RelationFork, block: number): Buffer {
    const page = this.ifThere(fork, block);
    if (page) return page;
    const zeros = Buffer.alloc(BLOCK_SIZE);
    this.#forkPages(fork).set(block, zeros);
    return zeros;
  }

  /** The page, which the caller may change in place; `undefined` when there is none. */
  ifThere(fork: RelationFork, block: number): Buffer | undefined {
    const pages = this.#forkPages(fork);
    let page = pages.get(block);
    if (page) return page;
    if (block >= (this.#cut.get(forkName(fork)) ?? Infinity)) return undefined;
    page = this.#readBase(fork, block);
    if (page) pages.set(block, page);
    return page;
  }

  /** The page without keeping it in memory; not to be changed. */
  peek(fork: RelationFork, block: number): Buffer | undefined {
    const page = this.#changed.get(forkName(fork))?.get(block);
    if (page || block >= (this.#cut.get(forkName(fork)) ?? Infinity)) return page;
    return this.#readBase(fork, block);
  }

  #readBase(fork: RelationFork, block: number): Buffer | undefined {
    const name = placeName(fork);
    if (this.#dropped.has(name)) return undefined;
    const copied = this.#copies.get(name);
    return this.#base.read(copied ? { ...fork, ...copied } : fork, block);
  }

  #forkPages(fork: RelationFork): Map<number, Buffer> {
    const name = forkName(fork);
    let pages = this.#changed.get(name);
    if (!pages) this.#changed.set(name, (pages = new Map()));
    return pages;
  }

  markPartialMap(fork: RelationFork): void {
    this.#partialMaps.add(forkName(fork));
  }

  isPartialMap(fork: RelationFork): boolean {
    return this.#partialMaps.has(forkName(fork));
  }

  truncate(file: RelationFile, blocks: number, forks: TruncatedForks): void {
    if (forks.main) this.#truncateFork({ ...file, fork: Fork.main }, blocks);
    if (forks.visibilityMap) this.#truncateVisibilityMap({ ...file, fork: Fork.vm }, blocks);
    // The free space map is a hint: what is left of it is never compared.
  }

  #truncateFork(fork: RelationFork, blocks: number): void {
    const name = forkName(fork);
    this.#cut.set(name, Math.min(blocks, this.#cut.get(name) ?? Infinity));
    const pages = this.#changed.get(name);
    for (const block of pages?.keys() ?? []) if (block >= blocks) pages!.delete(block);
  }

  /** `visibilitymap_prepare_truncate`: the last page that stays loses the bits of heap blocks that went. */
  #truncateVisibilityMap(fork: RelationFork, heapBlocks: number): void {
    const lastPage = Math.floor(heapBlocks / HEAP_BLOCKS_PER_VM_PAGE);
    const within = heapBlocks % HEAP_BLOCKS_PER_VM_PAGE;
    if (within > 0) {
      const page = this.ifThere(fork, lastPage);
      if (page) {
        const at = VM_HEADER_BYTES + Math.floor(within / 4);
        page[at] = page[at]! & ((1 << ((within % 4) * 2)) - 1);
        page.fill(0, at + 1);
      }
    }
    this.#truncateFork(fork, within > 0 ? lastPage + 1 : lastPage);
  }

  drop(file: RelationFile): void {
    for (const fork of Object.values(Fork)) this.#truncateFork({ ...file, fork }, 0);
  }

  copyDatabase(from: DatabasePlace, to: DatabasePlace): void {
    this.#copies.set(placeName(to), this.#copies.get(placeName(from)) ?? from);
    this.#dropped.delete(placeName(to));
    const prefix = `${placeName(from)}/`;
    for (const [name, pages] of [...this.#changed]) {
      if (!name.startsWith(prefix)) continue;
      const copy = new Map([...pages].map(([block, page]) => [block, Buffer.from(page)]));
      this.#changed.set(`${placeName(to)}/${name.slice(prefix.length)}`, copy);
    }
    for (const [name, cut] of [...this.#cut]) {
      if (name.startsWith(prefix)) this.#cut.set(`${placeName(to)}/${name.slice(prefix.length)}`, cut);
    }
  }

  dropDatabase(place: DatabasePlace): void {
    const prefix = `${placeName(place)}/`;
    this.#dropped.add(placeName(place));
    for (const map of [this.#changed, this.#cut]) {
      for (const name of [...map.keys()]) if (name.startsWith(prefix)) map.delete(name);
    }
  }
}

function placeName(place: DatabasePlace): string {
  return `${place.tablespace}/${place.database}`;
}

function forkName(fork: RelationFork): string {
  return `${placeName(fork)}/${fork.relation}/${fork.fork}`;
}
