import { setTimeout as sleep } from 'node:timers/promises';
import { fork, pgbench, sql, startPostgres } from '@coppice/testing';
import type { Stack } from '@coppice/testing';
import { apiLoad } from './api-load';
import { cpuTimes } from './cpu-time';
import type { Figure } from './figures';
import { median, percentile } from './figures';

const ROUNDS = 100;
const DEPTHS = [1, 10, 100, 1000] as const;
const CLIENTS = 16;
const WARM_UP_MS = 2_000;
const SUSTAINED_MS = 5_000;
/** Services that take part in a fork. */
const CHARGED = ['gateway', 'control-plane', 'metadata'] as const;
/** What a load leaves to do in the background (layers to write and merge) is not part of a fork. */
const SETTLE_MS = 15_000;

const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const from = performance.now();
  await work();
  return performance.now() - from;
};

async function rounds(count: number, work: () => Promise<unknown>): Promise<number[]> {
  for (let i = 0; i < 10; i += 1) await work();
  const times: number[] = [];
  for (let i = 0; i < count; i += 1) times.push(await timed(work));
  return times;
}

/** `POST /branches` at the gateway, for parents of different size and depth, beside `CREATE DATABASE … TEMPLATE`. */
export async function benchFork(stack: Stack): Promise<Figure[]> {
  const figures: Figure[] = [];
  const baseline = await copyBaseline();
  const project = await stack.ask('POST', '/projects', { project: { name: 'bench-fork' } });
  const id: string = project.project.id;
  const measure = async (name: string, parent?: string): Promise<void> => {
    const times = await rounds(ROUNDS, () => fork(stack, id, parent ? { parent_id: parent } : {}));
    figures.push({
      bench: 'fork',
      name: `${name} p50`,
      value: median(times),
      unit: 'ms',
      baseline,
      target: { atMost: 5 },
    });
    figures.push({
      bench: 'fork',
      name: `${name} p99`,
      value: percentile(times, 99),
      unit: 'ms',
      target: { atMost: 20 },
    });
  };
  const uri: string = project.connection_uris[0].connection_uri;
  const suspend = (): Promise<unknown> =>
    stack.ask('POST', `/projects/${id}/endpoints/${project.endpoints[0].id}/suspend`);
  await measure('empty parent');
  await sql(uri, 'select 1');
  await measure('empty parent, awake');

  let parent: string | undefined;
  for (let depth = 1; depth <= DEPTHS.at(-1)!; depth += 1) {
    parent = (await fork(stack, id, parent ? { parent_id: parent } : {})).id;
    if ((DEPTHS as readonly number[]).includes(depth)) await measure(`depth ${depth}`, parent);
  }

  await pgbench(uri, '-i', '-s', '70', '-q', '-I', 'dtg');
  const [{ size }] = (await sql(uri, 'select pg_database_size(current_database())::float8 as size')) as [
    { size: number },
  ];
  const large = `parent of ${(size / 1e9).toFixed(1)} GB`;
  await suspend();
  await sleep(SETTLE_MS);
  await measure(large);
  await sql(uri, 'select 1');
  await measure(`${large}, awake`);

  figures.push(...(await sustained(stack, id)));
  return figures;
}

/** Creates per second from clients that do nothing else, and what each cost the services. */
async function sustained(stack: Stack, project: string): Promise<Figure[]> {
  const load = apiLoad(stack, CLIENTS);
  const body = { endpoints: [{ type: 'read_write' }] };
  const forks = async (ms: number): Promise<number> => {
    let made = 0;
    const end = performance.now() + ms;
    const client = async (): Promise<void> => {
      while (performance.now() < end) {
        await load.post(`/projects/${project}/branches`, body);
        made += 1;
      }
    };
    await Promise.all(Array.from({ length: CLIENTS }, client));
    return made;
  };
  try {
    await forks(WARM_UP_MS);
    const before = cpuTimes(stack, CHARGED);
    const made = await forks(SUSTAINED_MS);
    const after = cpuTimes(stack, CHARGED);
    const rate: Figure = {
      bench: 'fork',
      name: `${CLIENTS} clients`,
      value: (made * 1000) / SUSTAINED_MS,
      unit: '/s',
      target: { atLeast: 300 },
    };
    const cpu = CHARGED.map((name) => ({
      bench: 'fork',
      name: `CPU per fork, ${name}`,
      value: (after[name] - before[name]) / made,
      unit: 'ms',
    }));
    return [rate, ...cpu];
  } finally {
    load.close();
  }
}

async function copyBaseline(): Promise<number> {
  const server = await startPostgres({});
  try {
    const times: number[] = [];
    for (let i = 0; i < 5; i += 1)
      times.push(await timed(() => server.query(`create database copy_${i} template template0`)));
    return median(times);
  } finally {
    await server.dispose();
  }
}
