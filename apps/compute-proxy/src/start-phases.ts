import { type Clock, Histogram } from '@coppice/service-kit';

const phaseSeconds = new Histogram({
  name: 'coppice_proxy_start_phase_seconds',
  help: 'Steps of a session that is held, seconds: "wake" until the control-plane says where the compute runs, "open" until its backend is ready for queries.',
  labelNames: ['phase'],
  buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
});

/** Does one step of a session's start and observes how long that took; a step that fails is not observed. */
export async function measured<T>(phase: 'wake' | 'open', clock: Clock, step: () => Promise<T>): Promise<T> {
  const from = clock.monotonic();
  const result = await step();
  phaseSeconds.observe({ phase }, (clock.monotonic() - from) / 1000);
  return result;
}
