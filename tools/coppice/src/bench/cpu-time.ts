/** CPU time of a stack's services: unlike time on the clock it hardly depends on what else the machine does. */
import { readdirSync, readFileSync } from 'node:fs';
import type { Stack } from '@coppice/testing';

/** `getconf CLK_TCK` of every Linux. */
const TICK_MS = 10;

interface ProcessTimes {
  readonly parent: number;
  /** Of itself and of its children that have ended, milliseconds. */
  readonly ms: number;
}

/** Milliseconds of CPU that each of the named services has used, with all processes that it started. */
export function cpuTimes<const Name extends string>(
  stack: Stack,
  names: readonly Name[],
): Record<Name, number> {
  const services = stack.file.services;
  return Object.fromEntries(
    names.map((name) => [name, treeMs(services.find((s) => s.name === name)!.pid)]),
  ) as Record<Name, number>;
}

/** Of a process and its direct children: no service's children have children that live long. */
function treeMs(root: number): number {
  let sum = 0;
  for (const name of readdirSync('/proc').filter((n) => /^\d+$/.test(n))) {
    const times = timesOf(Number(name));
    if (times && (Number(name) === root || times.parent === root)) sum += times.ms;
  }
  return sum;
}

/** Fields of proc_pid_stat(5) behind the command: ppid is the 2nd, utime, stime, cutime and cstime the 12th to 15th. */
function timesOf(pid: number): ProcessTimes | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined; // Gone meanwhile.
  }
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((all, field) => all + Number(field), 0);
  return { parent: Number(fields[1]), ms: ticks * TICK_MS };
}
