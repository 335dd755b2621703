/**
 * A hundred sleeping endpoints woken at once through the proxy, and beside them the single wake of another agent that comes in
 * the middle of it.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fork, sql } from '@coppice/testing';
import type { Stack } from '@coppice/testing';
import type { Figure } from './figures';
import { median, percentile } from './figures';

const ENDPOINTS = 100;
const QUERY = 'select count(*) from kept';
/** A fleet that sleeps has done so for a while: what an agent prepares in quiet times is there. */
const ASLEEP_MS = 20_000;
/** When the other agent comes: the storm is well under way. */
const OTHER_AFTER_MS = 1_500;

export async function benchWakeStorm(stack: Stack): Promise<Figure[]> {
  const sleepers = await sleepingBranches(stack);
  const other = await anotherAgent(stack);
  await sleep(ASLEEP_MS);
  const kept = await stack.metric('compute-agent', 'coppice_spare_memory_bytes');
  const cpuBefore = cpuMs(stack);
  const began = performance.now();
  const waking = sleepers.map(async (uri) => {
    await sql(uri, QUERY);
    return performance.now() - began;
  });
  const others = sleep(OTHER_AFTER_MS).then(async () => {
    const from = performance.now();
    await sql(other, 'select 1');
    return performance.now() - from;
  });
  const results = await Promise.allSettled(waking);
  const times = results.flatMap((r) => (r.status === 'fulfilled' ? [r.value] : []));
  for (const r of results) if (r.status === 'rejected') console.error(String(r.reason));
  const figure = (name: string, value: number, atMost?: number): Figure => ({
    bench: 'wake-storm',
    name,
    value,
    unit: 'ms',
    ...(atMost === undefined ? {} : { target: { atMost } }),
  });
  const cpu = cpuMs(stack) - cpuBefore;
  return [
    { ...figure('failed', results.length - times.length, 0), unit: '' },
    figure('p50', median(times), 6_000),
    figure('all answered', Math.max(...times), 15_000),
    figure('first answered', Math.min(...times)),
    figure('p99', percentile(times, 99)),
    figure('wake of another agent meanwhile', await others),
    { ...figure('shared memory kept for them', kept / 1024 ** 2), unit: 'MiB' },
    figure('CPU of the stack for each', cpu / Math.max(1, times.length)),
  ];
}

/** Connection strings of branches that have the table of their parent, and never ran. */
async function sleepingBranches(stack: Stack): Promise<string[]> {
  const made = await stack.ask('POST', '/projects', { project: { name: 'bench-wake-storm' } });
  await sql(made.connection_uris[0].connection_uri, 'create table kept as select generate_series(1, 1000)');
  await stack.ask('POST', `/projects/${made.project.id}/endpoints/${made.endpoints[0].id}/suspend`);
  const uris: string[] = [];
  for (let i = 0; i < ENDPOINTS; i += 1) uris.push((await fork(stack, made.project.id)).uri);
  return uris;
}

/** The connection string of a project that belongs to an agent of its own. */
async function anotherAgent(stack: Stack): Promise<string> {
  const { api_key: key } = await stack.ask('POST', '/agents', { agent: { name: 'bench-other', quotas: {} } });
  const made = await stack.request(
    'POST',
    '/projects',
    { project: { name: 'bench-other' } },
    { authorization: `Bearer ${key.key}` },
  );
  return made.body.connection_uris[0].connection_uri;
}

/** CPU time of the services and of all that they have started so far, in milliseconds: what a busy machine does not change. */
function cpuMs(stack: Stack): number {
  const pids = [...stack.file.services.map((s) => s.pid), ...stack.computePids()];
  return pids.reduce((sum, pid) => sum + cpuOf(pid), 0);
}

/** Of a process and its children that have ended; clock ticks are hundredths of a second on Linux. */
function cpuOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    return 10 * fields.slice(11, 15).reduce((sum, ticks) => sum + ticks, 0);
  } catch {
    // It has ended.
    return 0;
  }
}
