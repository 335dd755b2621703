import { sql, startPostgres } from '@coppice/testing';
import type { Stack } from '@coppice/testing';
import type { Figure } from './figures';
import { median, percentile } from './figures';

const ROUNDS = 200;
const BASELINE_ROUNDS = 3;

/** `POST /projects` until the answer with a connection string that works, beside starting a cluster of one's own. */
export async function benchProject(stack: Stack): Promise<Figure[]> {
  const times: number[] = [];
  let uri = '';
  for (let i = 0; i < ROUNDS + 10; i += 1) {
    const from = performance.now();
    const made = await stack.ask('POST', '/projects', { project: { name: 'bench-project' } });
    if (i >= 10) times.push(performance.now() - from);
    uri = made.connection_uris[0].connection_uri;
  }
  await sql(uri, 'select 1');
  return [
    {
      bench: 'project',
      name: 'p50',
      value: median(times),
      unit: 'ms',
      baseline: await initdbBaseline(),
      target: { atMost: 10 },
    },
    { bench: 'project', name: 'p99', value: percentile(times, 99), unit: 'ms' },
  ];
}

/** Making and starting a stock cluster: initdb, or its copy where one was made before. */
async function initdbBaseline(): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < BASELINE_ROUNDS; i += 1) {
    const from = performance.now();
    const server = await startPostgres({});
    times.push(performance.now() - from);
    await server.dispose();
  }
  return median(times);
}
