/**
 * What sleeping databases cost: memory and disk of the whole stack, per database, and how fast the fleet's sweeps and wakes are
 * with all of them there. `COPPICE_BENCH_DATABASES` sets how many.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { controlInternalContract } from '@coppice/contracts';
import { addressOf, sql, stackIdentities } from '@coppice/testing';
import type { Stack } from '@coppice/testing';
import type { Figure } from './figures';
import { median, percentile } from './figures';

const DATABASES = Number(process.env['COPPICE_BENCH_DATABASES'] ?? 100_000);
/** Branches of one project, each with an endpoint. */
const PER_PROJECT = 100;
const CLIENTS = 16;
const WAKES = 100;
const SWEEPS = 20;
/** Until garbage of the making is collected and the metadata is vacuumed, milliseconds. */
const SETTLE_MS = 20_000;

interface Cost {
  readonly memoryBytes: number;
  readonly diskBytes: number;
}

export async function benchDensity(stack: Stack): Promise<Figure[]> {
  await makeProject(stack, 2);
  const before = await costOf(stack);
  const uris = await makeDatabases(stack);
  await sleep(SETTLE_MS);
  const after = await costOf(stack);
  const each = (of: keyof Cost): number => (after[of] - before[of]) / uris.length / 1024;
  const figures: Figure[] = [
    { bench: 'density', name: `databases`, value: uris.length, unit: '' },
    { bench: 'density', name: 'memory each', value: each('memoryBytes'), unit: 'kB', target: { atMost: 4 } },
    { bench: 'density', name: 'disk each', value: each('diskBytes'), unit: 'kB', target: { atMost: 8 } },
    {
      bench: 'density',
      name: 'idle sweep p50',
      value: await idleSweep(stack),
      unit: 'ms',
      target: { atMost: 100 },
    },
  ];
  const wakes: number[] = [];
  for (let i = 0; i < Math.min(WAKES, uris.length); i += 1) {
    const uri = uris[Math.floor((i * uris.length) / WAKES)]!;
    const from = performance.now();
    await sql(uri, 'select count(*) from pg_class');
    wakes.push(performance.now() - from);
  }
  figures.push(
    { bench: 'density', name: 'wake p50', value: median(wakes), unit: 'ms' },
    { bench: 'density', name: 'wake p99', value: percentile(wakes, 99), unit: 'ms' },
  );
  return figures;
}

/** A project of so many databases; gives their connection strings. */
async function makeProject(stack: Stack, databases: number): Promise<string[]> {
  const made = await stack.ask('POST', '/projects', {
    project: { name: 'bench-density', default_endpoint_settings: { suspend_timeout_seconds: 60 } },
  });
  const uris: string[] = [made.connection_uris[0].connection_uri];
  for (let i = 1; i < databases; i += 1) {
    const branch = await stack.ask('POST', `/projects/${made.project.id}/branches`, {
      endpoints: [{ type: 'read_write' }],
    });
    uris.push(branch.connection_uris[0].connection_uri);
  }
  return uris;
}

async function makeDatabases(stack: Stack): Promise<string[]> {
  const uris: string[] = [];
  let left = Math.ceil(DATABASES / PER_PROJECT);
  const client = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      uris.push(...(await makeProject(stack, Math.min(PER_PROJECT, DATABASES))));
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return uris;
}

async function idleSweep(stack: Stack): Promise<number> {
  const control = stackIdentities(stack).everyone(controlInternalContract, addressOf(stack, 'control'));
  try {
    const times: number[] = [];
    for (let i = 0; i < SWEEPS; i += 1) {
      const from = performance.now();
      await control.suspendIdle({ limit: 1000, dryRun: true });
      times.push(performance.now() - from);
    }
    return median(times);
  } finally {
    control.close();
  }
}

/** Proportional memory of the services and all that they started, and the bytes of the data directory. */
async function costOf(stack: Stack): Promise<Cost> {
  const roots = new Set(stack.file.services.map((s) => s.pid));
  let memoryBytes = 0;
  for (const pid of descendants(roots)) memoryBytes += proportionalBytes(pid);
  const du = execFileSync('du', ['-s', '--block-size=1', stack.dataDirectory], { encoding: 'utf8' });
  return { memoryBytes, diskBytes: Number(du.split('\t')[0]) };
}

function descendants(roots: ReadonlySet<number>): Set<number> {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc').filter((n) => /^\d+$/.test(n))) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
    } catch {
      // Gone meanwhile.
    }
  }
  const found = new Set(roots);
  for (let grew = true; grew; ) {
    grew = false;
    for (const [pid, parent] of parents)
      if (found.has(parent) && !found.has(pid)) {
        found.add(pid);
        grew = true;
      }
  }
  return found;
}

function proportionalBytes(pid: number): number {
  try {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    return Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
