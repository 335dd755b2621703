/**
 * Which layers of a timeline may hold a key at an LSN. Layers stand in runs: a delta run covers a range of LSNs, an image
 * run one LSN; within a run the key ranges are disjoint. Delta runs do not overlap in LSN.
 *
 *     LSN ▲   ┌─────────────────────────┐
 *         │   │ delta run (not merged)  │  newest first
 *         │   ├──────────┬──────┬───────┤
 *         │   │ delta run, by key ranges│
 *         │   ╞══════════╧══════╧═══════╡
 *         │   │ image run               │  a search ends here
 *         └───┴─────────────────────────┴──► keys
 *
 * A map never changes: adding and replacing layers makes a new one, so a reader keeps what it started with.
 */
import type { LsnNumber, PageKey } from '@coppice/vocabulary';
import type { Layer } from './layer';
import type { LayerKind } from './layer-file';

/** Layers of one kind and LSN range, in the order of their keys. */
export interface Run<L extends Layer = Layer> {
  readonly kind: LayerKind;
  readonly startLsn: LsnNumber;
  readonly endLsn: LsnNumber;
  readonly bytes: number;
  readonly layers: readonly L[];
}

/** Newest first; of a delta run that ends where an image run is, the image comes first: it includes the run. */
function newestFirst(a: Run, b: Run): number {
  if (a.endLsn !== b.endLsn) return b.endLsn - a.endLsn;
  return a.kind === b.kind ? b.startLsn - a.startLsn : a.kind === 'image' ? -1 : 1;
}

export class LayerMap<L extends Layer = Layer> {
  /** Newest first. */
  readonly runs: readonly Run<L>[];

  private constructor(runs: readonly Run<L>[]) {
    this.runs = runs;
  }

  /** A map of these layers, in any order. Throws `RangeError` when their ranges contradict each other. */
  static of<L extends Layer>(layers: readonly L[]): LayerMap<L> {
    const byRun = new Map<string, L[]>();
    for (const layer of layers) {
      const name = `${layer.kind} ${layer.startLsn} ${layer.endLsn}`;
      const run = byRun.get(name);
      if (run) run.push(layer);
      else byRun.set(name, [layer]);
    }
    const runs = [...byRun.values()].flatMap(runsOf).sort(newestFirst);
    const deltas = runs.filter((run) => run.kind === 'delta');
    deltas.forEach((run, i) => {
      const older = deltas[i + 1];
      if (older && older.endLsn > run.startLsn) throw new RangeError(`delta runs overlap: ${older.endLsn} is above ${run.startLsn}`);
    });
    return new LayerMap(runs);
  }

  get layers(): L[] {
    return this.runs.flatMap((run) => run.layers);
  }

  /** The same map with `added` in and `removed` out. */
  with(change: { readonly added: readonly L[]; readonly removed?: readonly L[] }): LayerMap<L> {
    const gone = new Set(change.removed);
    return LayerMap.of([...this.layers.filter((layer) => !gone.has(layer)), ...change.added]);
  }

  /** The layer of a run whose key range holds `key`. */
  static layerAt<L extends Layer>(run: Run<L>, key: PageKey): L | undefined {
    const { layers } = run;
    let low = 0;
    let high = layers.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (layers[middle]!.startKey <= key) low = middle + 1;
      else high = middle;
    }
    const layer = layers[low - 1];
    return layer !== undefined && key < layer.endKey ? layer : undefined;
  }
}

/**
 * Runs of layers of one LSN range. Usually one; parts of a single record that was too large for memory overlap in their
 * keys and make several, in any order: a record has one version of a key.
 */
function runsOf<L extends Layer>(layers: readonly L[]): Run<L>[] {
  const inOrder = [...layers].sort((a, b) => (a.startKey < b.startKey ? -1 : a.startKey > b.startKey ? 1 : 0));
  const runs: L[][] = [];
  for (const layer of inOrder) {
    const run = runs.find((r) => r.at(-1)!.endKey <= layer.startKey);
    if (run) run.push(layer);
    else runs.push([layer]);
  }
  const { kind, startLsn, endLsn } = layers[0]!;
  if (runs.length > 1 && (kind === 'image' || startLsn < endLsn)) throw new RangeError('layers of one run overlap in their keys');
  return runs.map((run) => ({ kind, startLsn, endLsn, bytes: run.reduce((sum, layer) => sum + layer.bytes, 0), layers: run }));
}
