/** `select 1` over HTTP on a warm compute, through the driver that people use and by bare requests; beside the Postgres protocol. */
import { Agent, request } from 'node:http';
import { neon, neonConfig } from '@neondatabase/serverless';
import { Client } from 'pg';
import { type Stack } from '@coppice/testing';
import type { Figure } from './figures';
import { median, percentile } from './figures';

const WARM_UP = 200;
const ROUNDS = 20;
const IN_A_ROUND = 100;
/** For the rate of several clients at once. */
const CLIENTS = 8;

export async function benchHttp(stack: Stack): Promise<Figure[]> {
  const { host, port } = stack.file.http;
  const made = await stack.ask('POST', '/projects', { project: { name: 'bench-http' } });
  const uri: string = made.connection_uris[0].connection_uri;
  neonConfig.fetchEndpoint = `http://${host}:${port}/sql`;
  const driver = neon(uri);
  const client = new Client(uri);
  const agent = new Agent({ keepAlive: true });
  await client.connect();
  const ways = {
    postgres: () => client.query('select 1'),
    http: () => post(agent, host, port, uri),
    driver: () => driver`select 1`,
  };
  const times: Record<keyof typeof ways, number[]> = { postgres: [], http: [], driver: [] };
  try {
    for (const way of Object.values(ways)) for (let i = 0; i < WARM_UP; i += 1) await way();
    for (let round = 0; round < ROUNDS; round += 1)
      for (const name of Object.keys(ways) as (keyof typeof ways)[])
        for (let i = 0; i < IN_A_ROUND; i += 1) {
          const from = performance.now();
          await ways[name]();
          times[name].push(performance.now() - from);
        }
    const rate = await ratePerSecond(() => post(agent, host, port, uri));
    const baseline = median(times.postgres);
    const shared = { bench: 'http', baseline } as const;
    return [
      { ...shared, name: 'select 1 p50', value: median(times.http), unit: 'ms', target: { atMost: 3 } },
      { ...shared, name: 'select 1 p99', value: percentile(times.http, 99), unit: 'ms' },
      { ...shared, name: 'select 1 by the driver p50', value: median(times.driver), unit: 'ms' },
      { bench: 'http', name: `select 1, ${CLIENTS} clients`, value: rate, unit: '/s' },
    ];
  } finally {
    agent.destroy();
    await client.end();
  }
}

function post(agent: Agent, host: string, port: number, uri: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = {
      'neon-connection-string': uri,
      'neon-raw-text-output': 'true',
      'neon-array-mode': 'true',
    };
    const sent = request({ agent, host, port, method: 'POST', path: '/sql', headers }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`/sql answers ${response.statusCode}`));
      response.on('end', resolve).resume();
    });
    sent.on('error', reject).end('{"query":"select 1","params":[]}');
  });
}

async function ratePerSecond(work: () => Promise<void>): Promise<number> {
  const from = performance.now();
  const each = (ROUNDS * IN_A_ROUND) / CLIENTS;
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      for (let i = 0; i < each; i += 1) await work();
    }),
  );
  return (ROUNDS * IN_A_ROUND) / ((performance.now() - from) / 1000);
}
