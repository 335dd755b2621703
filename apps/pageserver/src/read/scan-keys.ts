/**
 * The keys of a range that any layer of a timeline or its ancestors has, ascending, each once: a merge of sorted sources.
 * Whether a key exists at a position is for the search to say.
 */
import type { LsnNumber, PageKey } from '@coppice/vocabulary';
import type { LayerReader } from '../storage/layer-reader';
import type { StoredLayer } from '../storage/stored-layer';
import type { Timeline } from '../storage/timeline';

interface KeyRange {
  readonly from: PageKey;
  readonly to: PageKey;
}

type KeySource = AsyncIterator<PageKey> | Iterator<PageKey>;

export async function* scanKeys(timeline: Timeline, range: KeyRange, lsn: LsnNumber, layers: LayerReader): AsyncGenerator<PageKey> {
  const sources = sourcesOf(timeline, range, lsn, layers);
  const heads: { source: KeySource; key: PageKey }[] = [];
  for (const source of sources) {
    const { value, done } = await source.next();
    if (!done) heads.push({ source, key: value });
  }
  while (heads.length > 0) {
    let lowest = heads[0]!.key;
    for (const { key } of heads) if (key < lowest) lowest = key;
    yield lowest;
    for (let i = heads.length - 1; i >= 0; i -= 1) {
      const head = heads[i]!;
      if (head.key !== lowest) continue;
      const next = head.source.next();
      const { value, done } = next instanceof Promise ? await next : next;
      if (done) heads.splice(i, 1);
      else head.key = value;
    }
  }
}

function sourcesOf(timeline: Timeline, range: KeyRange, lsn: LsnNumber, layers: LayerReader): KeySource[] {
  const sources: KeySource[] = [];
  let upTo = lsn;
  for (let at: Timeline | undefined = timeline; at !== undefined; ) {
    for (const keys of at.memoryKeys(range.from, range.to)) sources.push(keys[Symbol.iterator]());
    for (const run of at.layers.runs) {
      if (run.kind === 'delta' ? run.startLsn >= upTo : run.endLsn > upTo) continue;
      for (const layer of run.layers) {
        if (layer.startKey < range.to && range.from < layer.endKey) sources.push(keysOfLayer(layer, range, layers));
      }
    }
    const { ancestor }: Timeline = at;
    if (ancestor) upTo = Math.min(upTo, ancestor.lsn);
    at = ancestor?.timeline;
  }
  return sources;
}

async function* keysOfLayer(layer: StoredLayer, { from, to }: KeyRange, layers: LayerReader): AsyncGenerator<PageKey> {
  const index = await layers.index(layer);
  const fromBytes = Buffer.from(from, 'latin1');
  let last: PageKey | undefined;
  for (let n = index.firstBlockAtOrAfter(from); n < index.blockCount && index.firstKey(n) < to; n += 1) {
    const block = (await layers.blocks(layer, index, [n])).get(n)!;
    for (let i = block.lowerBound(fromBytes, 0); i < block.count; i += 1) {
      const key = block.key(i);
      if (key >= to) return;
      if (key !== last) yield key;
      last = key;
    }
  }
}
