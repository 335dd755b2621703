import { withClient } from '@coppice/testing';
import type { Stack } from '@coppice/testing';
import { addressOf, stackIdentities, startPostgres } from '@coppice/testing';
import { computeAgentContract } from '@coppice/contracts';
import type { Figure } from './figures';
import { median, percentile } from './figures';

const STARTS = 100;
const BASELINE_STARTS = 10;
const QUERY = 'select count(*) from pg_class';

/** Connect through the proxy to the first row, compute at zero; beside a bare `postgres` on a full local directory. */
export async function benchColdStart(stack: Stack): Promise<Figure[]> {
  const made = await stack.ask('POST', '/projects', { project: { name: 'bench-cold-start' } });
  const uri: string = made.connection_uris[0].connection_uri;
  const suspend = (): Promise<unknown> =>
    stack.ask('POST', `/projects/${made.project.id}/endpoints/${made.endpoints[0].id}/suspend`);
  const agent = stackIdentities(stack).everyone(computeAgentContract, addressOf(stack, 'agent'));
  const times: number[] = [];
  const phases = new Map<string, number[]>();
  try {
    for (let i = 0; i <= STARTS; i += 1) {
      const from = performance.now();
      await withClient(uri, (c) => c.query(QUERY));
      if (i > 0) times.push(performance.now() - from);
      for (const compute of (await agent.listComputes({})).computes) {
        for (const { name, milliseconds } of compute.phases)
          phases.set(name, [...(phases.get(name) ?? []), milliseconds]);
      }
      await suspend();
    }
  } finally {
    agent.close();
  }
  const baseline = await bareStart();
  const p50 = median(times);
  return [
    { bench: 'cold-start', name: 'p50', value: p50, unit: 'ms', baseline, target: { atMost: 100 } },
    { bench: 'cold-start', name: 'p99', value: percentile(times, 99), unit: 'ms', target: { atMost: 250 } },
    {
      bench: 'cold-start',
      name: 'against bare postgres',
      value: p50 / baseline,
      unit: '×',
      target: { atMost: 2.5 },
    },
    ...[...phases].map(
      ([name, values]): Figure => ({
        bench: 'cold-start',
        name: `phase ${name} p50`,
        value: median(values),
        unit: 'ms',
      }),
    ),
  ];
}

async function bareStart(): Promise<number> {
  const server = await startPostgres({ settings: { fsync: 'off' } });
  try {
    const times: number[] = [];
    for (let i = 0; i < BASELINE_STARTS; i += 1) {
      await server.stop('fast');
      const from = performance.now();
      await server.start();
      const client = await server.connect();
      await client.query(QUERY);
      times.push(performance.now() - from);
      await client.end();
    }
    return median(times);
  } finally {
    await server.dispose();
  }
}
