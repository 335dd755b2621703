import { metricsRegistry } from '@coppice/service-kit';
import '../start-phases';

/** How many first rows of sessions whose compute was started were observed in this process, and their seconds together. */
export async function firstRows(): Promise<{ readonly count: number; readonly seconds: number }> {
  const metric = await metricsRegistry.getSingleMetric('coppice_proxy_start_phase_seconds')!.get();
  const of = (suffix: string): number =>
    (metric.values as readonly { metricName?: string; value: number; labels: { phase?: string } }[]).find(
      (v) => v.metricName === `${metric.name}_${suffix}` && v.labels.phase === 'first row',
    )?.value ?? 0;
  return { count: of('count'), seconds: of('sum') };
}
