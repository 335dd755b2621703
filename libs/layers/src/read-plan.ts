/**
 * Which layers of one timeline to look into for a set of keys, in which order, and where to stop. Whether a search ends
 * early is known only once a layer was read, so a plan lists all that may be needed; whoever carries it out leaves out
 * the keys that are done. What is not done after the last step goes on to the ancestor, at the branch point.
 */
import type { LayerMap, Run } from './layer-map';
import { LayerMap as LayerMaps } from './layer-map';
import type { Layer } from './layer';
import type { VersionSearch } from './versions';

export interface ReadStep<L extends Layer = Layer> {
  readonly layer: L;
  readonly searches: readonly VersionSearch[];
}

/**
 * Steps for the searches, newest layer first. Raises the floor of a search below which an image layer answers, so that
 * a delta layer that also reaches below the image gives nothing that the image includes.
 */
export function planReads<L extends Layer>(map: LayerMap<L>, searches: readonly VersionSearch[]): ReadStep<L>[] {
  const steps: ReadStep<L>[] = [];
  let open = searches.filter((search) => !search.done);
  const images = map.runs.filter((run) => run.kind === 'image');
  for (const search of open) {
    const image = images.find((run) => run.endLsn <= search.lsn && LayerMaps.layerAt(run, search.key) !== undefined);
    if (image && image.endLsn > search.floor) search.floor = image.endLsn;
  }
  for (const run of map.runs) {
    if (open.length === 0) break;
    const asked = open.filter((search) => mayAnswer(run, search));
    for (const [layer, among] of byLayer(run, asked)) steps.push({ layer, searches: among });
    if (run.kind === 'image') open = open.filter((search) => !asked.includes(search) || LayerMaps.layerAt(run, search.key) === undefined);
  }
  return steps;
}

function mayAnswer(run: Run, search: VersionSearch): boolean {
  if (run.kind === 'image') return run.endLsn <= search.lsn && run.endLsn >= search.floor;
  return run.startLsn < search.lsn && run.endLsn > search.floor;
}

function byLayer<L extends Layer>(run: Run<L>, searches: readonly VersionSearch[]): Map<L, VersionSearch[]> {
  const found = new Map<L, VersionSearch[]>();
  for (const search of searches) {
    const layer = LayerMaps.layerAt(run, search.key);
    if (layer === undefined) continue;
    const among = found.get(layer);
    if (among) among.push(search);
    else found.set(layer, [search]);
  }
  return found;
}
