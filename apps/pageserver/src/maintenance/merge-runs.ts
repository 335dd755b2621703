import type { BlockEntry, LayerBlock, Run } from '@coppice/layers';
import type { LayerReader } from '../storage/layer-reader';
import type { StoredLayer } from '../storage/stored-layer';

/** A place in a run, entry after entry. Moving on waits only where a block ends. */
class RunCursor {
  readonly #blocks: AsyncIterator<LayerBlock>;
  #block: LayerBlock | undefined;
  #at = 0;
  entry: BlockEntry | undefined;

  constructor(blocks: AsyncIterator<LayerBlock>) {
    this.#blocks = blocks;
  }

  /** True when the next entry was at hand; else call `load`. */
  next(): boolean {
    this.#at += 1;
    if (this.#block === undefined || this.#at >= this.#block.count) return false;
    this.entry = this.#block.entry(this.#at);
    return true;
  }

  async load(): Promise<void> {
    const { value, done } = await this.#blocks.next();
    this.#block = done ? undefined : value;
    this.#at = 0;
    this.entry = this.#block?.entry(0);
  }
}

/** All versions of delta runs, given oldest first, in (key, LSN) order; of a version that is in two runs, one. */
export async function* mergeRuns(runs: readonly Run<StoredLayer>[], layers: LayerReader): AsyncGenerator<BlockEntry> {
  const cursors = runs.map((run) => new RunCursor(blocksOf(run, layers)));
  for (const cursor of cursors) await cursor.load();
  let last: BlockEntry | undefined;
  for (;;) {
    let lowest: RunCursor | undefined;
    for (const cursor of cursors) {
      if (cursor.entry !== undefined && (lowest === undefined || isBefore(cursor.entry, lowest.entry!))) lowest = cursor;
    }
    if (lowest === undefined) return;
    const entry = lowest.entry!;
    if (!lowest.next()) await lowest.load();
    if (last !== undefined && last.lsn === entry.lsn && last.key === entry.key) continue;
    last = entry;
    yield entry;
  }
}

function isBefore(a: BlockEntry, b: BlockEntry): boolean {
  return a.key < b.key || (a.key === b.key && a.lsn < b.lsn);
}

async function* blocksOf(run: Run<StoredLayer>, layers: LayerReader): AsyncGenerator<LayerBlock> {
  for (const layer of run.layers) yield* layers.allBlocks(layer);
}
