import { Counter, Histogram } from '@coppice/service-kit';

export const fetchedPages = new Counter({
  name: 'coppice_page_source_pages_total',
  help: 'Pages fetched from the pageserver for computes',
});
export const aheadPages = new Counter({
  name: 'coppice_page_source_ahead_pages_total',
  help: 'Pages of those fetched before they were wanted',
});
export const usedAheadPages = new Counter({
  name: 'coppice_page_source_ahead_used_total',
  help: 'Pages wanted after they were fetched ahead',
});
export const failedMisses = new Counter({
  name: 'coppice_page_source_failures_total',
  help: 'Misses answered with an error',
});
export const missSeconds = new Histogram({
  name: 'coppice_page_source_miss_seconds',
  help: 'From the request of a server process to its answer',
  buckets: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5],
});
export const lookedUpRelations = new Counter({
  name: 'coppice_page_source_relations_total',
  help: 'Relations whose files were made when a server process first used one',
});
