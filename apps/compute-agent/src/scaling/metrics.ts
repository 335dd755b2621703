import { Counter, Gauge } from '@coppice/service-kit';

export const computesBySize = new Gauge({
  name: 'coppice_computes_by_size',
  help: 'Computes that run, by their size in compute units',
  labelNames: ['units'],
});
export const sizeChanges = new Counter({
  name: 'coppice_compute_size_changes_total',
  help: 'Times that a compute was given another size',
  labelNames: ['direction'],
});
export const failedResizes = new Counter({
  name: 'coppice_compute_resize_failures_total',
  help: 'Sizes that could not be put in force',
});
export const throttledSeconds = new Counter({
  name: 'coppice_compute_throttled_seconds_total',
  help: 'Time for which processes of computes were held back by their size, summed over CPUs',
});
