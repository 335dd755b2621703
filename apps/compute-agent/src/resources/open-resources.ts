import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import type { Clock, Log } from '@coppice/service-kit';
import { cgroup1, cgroup2, type CgroupDialect } from './cgroup-dialect';
import type { ComputeResources } from './compute-resources';
import { ControlGroups, nameOfAgent } from './control-groups';
import { type Hierarchies, hierarchiesIn } from './hierarchies';
import { NoLimits } from './no-limits';

const NEEDED = ['cpu', 'memory'];

export interface OpenResourcesOptions {
  /** Below which control group computes get theirs; empty: this process's own; `none`: they get none. */
  readonly group: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** The control groups of this machine, or what is without; which it is, and why, is logged once. */
export function openResources({ group, clock, log }: OpenResourcesOptions): ComputeResources {
  const nodeCpus = availableParallelism();
  if (group === 'none') return new NoLimits({ nodeCpus, clock });
  const read = (path: string): string => readFileSync(path, 'utf8');
  const where = hierarchiesIn(read('/proc/self/mountinfo'), read('/proc/self/cgroup'), group);
  const reasons: string[] = [];
  for (const open of [openV2, openV1]) {
    try {
      const { dialect, cpus } = open(where, group === '');
      const { path, value } = dialect.weightOfAll(nodeCpus);
      writeFileSync(path, value);
      log.info({ kind: dialect.kind, groups: dialect.parents, nodeCpus }, 'sizes of computes are enforced');
      return new ControlGroups({ dialect, nodeCpus: Math.min(nodeCpus, cpus), clock, log });
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error));
    }
  }
  log.info(
    {
      reasons,
      remedy:
        'Run the agent as root, or in a control group that is delegated to it and has no other process, or name one with COPPICE_AGENT_CGROUP.',
    },
    'sizes of computes are not enforced: no control groups can be made here',
  );
  return new NoLimits({ nodeCpus, clock });
}

interface Opened {
  readonly dialect: CgroupDialect;
  readonly cpus: number;
}

function openV2({ v2: base }: Hierarchies, isOwn: boolean): Opened {
  if (base === undefined) throw new Error('no cgroup v2 is mounted');
  const available = readFileSync(join(base, 'cgroup.controllers'), 'utf8').trim().split(' ');
  const missing = NEEDED.filter((name) => !available.includes(name));
  if (missing.length > 0) throw new Error(`cgroup v2 lacks the controllers ${missing.join(', ')} at ${base}`);
  const parent = join(base, nameOfAgent(process.pid));
  mkdirSync(parent, { recursive: true });
  try {
    pass(base, isOwn);
    pass(parent, false);
  } catch (error) {
    rmdirSync(parent);
    throw error;
  }
  const [quota, period] = textOf(join(base, 'cpu.max')).split(' ').map(Number);
  const hasBurst = existsSync(join(parent, 'cpu.max.burst'));
  return { dialect: cgroup2(parent, hasBurst), cpus: quota && period ? quota / period : Infinity };
}

/** Lets the groups below have the controllers. A group with processes of its own cannot, so this one moves into a leaf. */
function pass(directory: string, mayMove: boolean): void {
  const control = join(directory, 'cgroup.subtree_control');
  const passed = readFileSync(control, 'utf8').trim().split(' ');
  if (NEEDED.every((name) => passed.includes(name))) return;
  const enable = (): void => writeFileSync(control, NEEDED.map((name) => `+${name}`).join(' '));
  try {
    enable();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EBUSY' || !mayMove) throw error;
    const leaf = join(directory, `${nameOfAgent(process.pid)}-self`);
    mkdirSync(leaf, { recursive: true });
    writeFileSync(join(leaf, 'cgroup.procs'), String(process.pid));
    enable();
  }
}

function openV1({ v1 }: Hierarchies): Opened {
  const { cpu, cpuacct, memory } = v1;
  if (!cpu || !cpuacct || !memory) throw new Error('no cgroup v1 with cpu, cpuacct and memory is mounted');
  const [mine, accounts, held] = [cpu, cpuacct, memory].map((directory) =>
    join(directory, nameOfAgent(process.pid)),
  );
  const parents = { cpu: mine!, cpuacct: accounts!, memory: held! };
  const dialect = cgroup1(parents, existsSync(join(cpu, 'cpu.cfs_burst_us')));
  for (const parent of dialect.parents) mkdirSync(parent, { recursive: true });
  const quota = Number(textOf(join(dirname(parents.cpu), 'cpu.cfs_quota_us')));
  const period = Number(textOf(join(dirname(parents.cpu), 'cpu.cfs_period_us')));
  return { dialect, cpus: quota > 0 && period > 0 ? quota / period : Infinity };
}

/** Empty where the root of a hierarchy has no such file. */
function textOf(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : '';
}
