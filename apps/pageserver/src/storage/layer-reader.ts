/**
 * Reads layers from object storage by range. Indexes and unpacked blocks are kept in memory within byte budgets; blocks
 * that stand near each other are fetched together; readers that want the same block at the same time share one fetch.
 */
import type { BlockPlace, VersionSearch } from '@coppice/layers';
import { FOOTER_BYTES, layerObjectKey, LayerBlock, LayerIndex, parseFooter, unpackBlock } from '@coppice/layers';
import type { ObjectStore } from '@coppice/object-store';
import { CoppiceError, Semaphore } from '@coppice/service-kit';
import { LruCache } from './lru-cache';
import type { StoredLayer } from './stored-layer';

export interface LayerReaderOptions {
  readonly store: ObjectStore;
  readonly blockCacheBytes: number;
  readonly indexCacheBytes: number;
  /** Range reads under way at once. */
  readonly maxFetches?: number;
}

/** The last bytes of a file are read at once: most indexes are in them. */
const TAIL_BYTES = 64 * 1024;
/** Blocks with at most so many other bytes between them are fetched together, */
const MAX_GAP_BYTES = 64 * 1024;
/** up to so many bytes. */
const MAX_FETCH_BYTES = 1024 * 1024;
const MAX_BLOCKS = 2 ** 24;
const BLOCK_OVERHEAD_BYTES = 200;

export class LayerReader {
  readonly #store: ObjectStore;
  readonly #blocks: LruCache<number, LayerBlock>;
  readonly #indexes: LruCache<number, LayerIndex>;
  readonly #fetches: Semaphore;
  readonly #comingBlocks = new Map<number, Promise<LayerBlock>>();
  readonly #comingIndexes = new Map<number, Promise<LayerIndex>>();

  constructor({ store, blockCacheBytes, indexCacheBytes, maxFetches = 16 }: LayerReaderOptions) {
    this.#store = store;
    this.#blocks = new LruCache(blockCacheBytes);
    this.#indexes = new LruCache(indexCacheBytes);
    this.#fetches = new Semaphore(maxFetches);
  }

  /** Takes into each search what the layer has for it. */
  async search(layer: StoredLayer, searches: readonly VersionSearch[]): Promise<void> {
    const index = await this.index(layer);
    if (layer.kind === 'image') for (const search of searches) search.enterImage();
    let going: { search: VersionSearch; block: number }[] = [];
    for (const search of searches) {
      const block = index.mayContain(search.key) ? index.lastBlockFor(search.key, search.lsn) : -1;
      if (block >= 0) going.push({ search, block });
    }
    while (going.length > 0) {
      const wanted = new Set(going.map(({ block }) => block));
      const blocks = await this.blocks(layer, index, [...wanted]);
      const more: typeof going = [];
      for (const { search, block } of going) {
        if (search.takeFrom(blocks.get(block)!) && block > 0) more.push({ search, block: block - 1 });
      }
      going = more;
    }
  }

  async index(layer: StoredLayer): Promise<LayerIndex> {
    const cached = this.#indexes.get(layer.serial);
    if (cached) return cached;
    return shared(this.#comingIndexes, layer.serial, async () => {
      const index = await this.#fetches.run(() => this.#fetchIndex(layer));
      this.#indexes.set(layer.serial, index, index.memory);
      return index;
    });
  }

  /** Unpacked blocks of a layer by number. */
  async blocks(layer: StoredLayer, index: LayerIndex, wanted: readonly number[]): Promise<Map<number, LayerBlock>> {
    const found = new Map<number, LayerBlock>();
    const missing: number[] = [];
    const coming: Promise<void>[] = [];
    for (const block of wanted) {
      const key = layer.serial * MAX_BLOCKS + block;
      const cached = this.#blocks.get(key);
      if (cached) {
        found.set(block, cached);
        continue;
      }
      const under = this.#comingBlocks.get(key);
      if (under) coming.push(under.then((b) => void found.set(block, b)));
      else missing.push(block);
    }
    if (missing.length > 0) {
      for (const group of groupsOf(missing.sort((a, b) => a - b), index)) {
        const fetch = this.#fetches.run(() => this.#fetchBlocks(layer, index, group));
        for (const block of group) {
          const key = layer.serial * MAX_BLOCKS + block;
          const one = shared(this.#comingBlocks, key, async () => {
            const unpacked = (await fetch).get(block)!;
            this.#blocks.set(key, unpacked, unpacked.raw.length + BLOCK_OVERHEAD_BYTES);
            return unpacked;
          });
          coming.push(one.then((b) => void found.set(block, b)));
        }
      }
    }
    if (coming.length > 0) await Promise.all(coming);
    return found;
  }

  /** All blocks of a layer in order, read in large pieces, past the cache. */
  async *allBlocks(layer: StoredLayer): AsyncGenerator<LayerBlock> {
    const index = await this.index(layer);
    const all = Array.from({ length: index.blockCount }, (_, block) => block);
    for (const group of groupsOf(all, index)) {
      const blocks = await this.#fetches.run(() => this.#fetchBlocks(layer, index, group));
      for (const block of group) yield blocks.get(block)!;
    }
  }

  async #fetchIndex(layer: StoredLayer): Promise<LayerIndex> {
    return this.#checked(layer, async (key) => {
      const length = Math.min(TAIL_BYTES, layer.bytes);
      const start = layer.bytes - length;
      const end = await this.#store.getRange(key, { offset: start, length });
      const footer = end.subarray(Math.max(0, end.length - FOOTER_BYTES));
      const tail = parseFooter(footer, layer.bytes);
      const within = tail.offset >= start;
      const bytes = within ? end.subarray(tail.offset - start, tail.offset - start + tail.length) : await this.#store.getRange(key, tail);
      return new LayerIndex(bytes, footer);
    });
  }

  async #fetchBlocks(layer: StoredLayer, index: LayerIndex, group: readonly number[]): Promise<Map<number, LayerBlock>> {
    return this.#checked(layer, async (key) => {
      const { offset } = index.place(group[0]!);
      const last = index.place(group.at(-1)!);
      const bytes = await this.#store.getRange(key, { offset, length: last.offset + last.length - offset });
      const blocks = new Map<number, LayerBlock>();
      for (const block of group) {
        const place = index.place(block);
        const unpacked = new LayerBlock(unpackBlock(bytes.subarray(place.offset - offset, place.offset - offset + place.length)));
        blocks.set(block, unpacked);
      }
      return blocks;
    });
  }

  async #checked<T>(layer: StoredLayer, read: (key: string) => Promise<T>): Promise<T> {
    const key = layerObjectKey(layer.timeline, layer);
    try {
      return await read(key);
    } catch (error) {
      if (error instanceof CoppiceError && error.kind !== 'NotFound' && error.kind !== 'Invalid') throw error;
      throw new CoppiceError('Corrupt', 'layer-unreadable', `layer ${key}: ${(error as Error).message}`, {
        cause: error,
        remedy: 'Restore the object from a copy or a backup of the bucket.',
      });
    }
  }
}

/** One promise per key for all who ask while it is under way. */
function shared<T>(coming: Map<number, Promise<T>>, key: number, start: () => Promise<T>): Promise<T> {
  const under = coming.get(key);
  if (under) return under;
  const made = start().finally(() => coming.delete(key));
  made.catch(() => undefined);
  coming.set(key, made);
  return made;
}

/** Ascending block numbers in groups that one range read fetches. */
function groupsOf(blocks: readonly number[], index: LayerIndex): number[][] {
  const groups: number[][] = [];
  let start = 0;
  let end = 0;
  for (const block of blocks) {
    const place: BlockPlace = index.place(block);
    const group = groups.at(-1);
    if (group && place.offset - end <= MAX_GAP_BYTES && place.offset + place.length - start <= MAX_FETCH_BYTES) group.push(block);
    else {
      groups.push([block]);
      start = place.offset;
    }
    end = place.offset + place.length;
  }
  return groups;
}
