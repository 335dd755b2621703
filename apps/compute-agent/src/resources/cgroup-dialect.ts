/**
 * What differs between the two versions of control groups: where things are, and what they are called.
 *
 *              v2, one hierarchy              v1, one per controller (cpu and cpuacct are often one)
 *   CPU        cpu.max "<quota> <period>"     cpu.cfs_quota_us, of a period of 100 ms
 *              cpu.max.burst                  cpu.cfs_burst_us
 *              cpu.weight, 1 to 10,000        cpu.shares, 2 to 262,144
 *              cpu.stat                       cpuacct.usage, cpu.stat
 *   memory     memory.high                    memory.soft_limit_in_bytes
 *              memory.max                     memory.limit_in_bytes
 *              memory.stat                    memory.stat
 *
 * A quarter of a CPU is 25 ms of every 100. The burst lets a compute save up as much again while it does nothing, so that a short
 * query is not cut in two. Weights count only while the CPUs of the node are short: computes then get some in proportion to their
 * sizes, and all of them together as much as eight processes for each CPU, where they would else weigh as much as one. The soft limit of v1 is weaker than that of v2: the kernel looks at it only when the node as a whole is
 * short of memory.
 */
import { join } from 'node:path';
import type { UsageCounters } from '@coppice/scaling';
import type { SizeInForce } from './compute-resources';
import { CounterFile, counterIn } from './counter-file';

const PERIOD_US = 100_000;
const PAGE_BYTES = 4096;
const PROCESSES_PER_CPU = 8;

/** One write to a file of the kernel's. */
export interface Setting {
  readonly path: string;
  readonly value: string;
}

export interface GroupCounters {
  /** CPU alone: what has used none has nothing else to tell. */
  cpuSeconds(): number;
  all(): Omit<UsageCounters, 'atMs'>;
  close(): void;
}

export interface CgroupDialect {
  readonly kind: 'cgroup v2' | 'cgroup v1';
  /** Directories in which a compute's group is made: a process is put into one of each. */
  readonly parents: readonly string[];
  /** In the order in which they must be written. `undefined` lifts all limits. */
  settings(name: string, size: SizeInForce | undefined): Setting[];
  /** What all computes together weigh on a node with so many CPUs. */
  weightOfAll(nodeCpus: number): Setting;
  counters(name: string): GroupCounters;
}

export function cgroup2(parent: string, hasBurst: boolean): CgroupDialect {
  return {
    kind: 'cgroup v2',
    parents: [parent],
    settings: (name, size) => {
      const at = (file: string, value: string): Setting => ({ path: join(parent, name, file), value });
      const quota = size && quotaOf(size.cpus);
      return [
        ...(hasBurst ? [at('cpu.max.burst', '0')] : []),
        at('cpu.max', `${quota ?? 'max'} ${PERIOD_US}`),
        ...(hasBurst && quota ? [at('cpu.max.burst', String(quota))] : []),
        at('cpu.weight', String(Math.round(100 * (size?.cpus ?? 1)))),
        at('memory.high', String(size?.memory.soft ?? 'max')),
        at('memory.max', String(size?.memory.hard ?? 'max')),
      ];
    },
    weightOfAll: (nodeCpus) => ({
      path: join(parent, 'cpu.weight'),
      value: String(Math.min(10_000, 100 * PROCESSES_PER_CPU * nodeCpus)),
    }),
    counters: (name) => {
      const [cpu, memory] = ['cpu.stat', 'memory.stat'].map(
        (file) => new CounterFile(join(parent, name, file)),
      );
      return {
        cpuSeconds: () => counterIn(cpu!.read(), 'usage_usec') / 1e6,
        all: () => {
          const [used, held] = [cpu!.read(), memory!.read()];
          return {
            cpuSeconds: counterIn(used, 'usage_usec') / 1e6,
            ...periodsIn(used),
            throttledSeconds: counterIn(used, 'throttled_usec') / 1e6,
            heldBytes: ['anon', 'shmem', 'slab_unreclaimable', 'kernel_stack', 'pagetables']
              .map((kind) => counterIn(held, kind))
              .reduce((sum, bytes) => sum + bytes, 0),
            refaultedBytes: counterIn(held, 'workingset_refault_file') * PAGE_BYTES,
          };
        },
        close: () => [cpu!, memory!].forEach((file) => file.close()),
      };
    },
  };
}

export interface Cgroup1Parents {
  readonly cpu: string;
  readonly cpuacct: string;
  readonly memory: string;
}

export function cgroup1(parents: Cgroup1Parents, hasBurst: boolean): CgroupDialect {
  return {
    kind: 'cgroup v1',
    parents: [...new Set([parents.cpu, parents.cpuacct, parents.memory])],
    settings: (name, size) => {
      const cpu = (file: string, value: number): Setting => ({
        path: join(parents.cpu, name, file),
        value: String(value),
      });
      const memory = (file: string, value: number): Setting => ({
        path: join(parents.memory, name, file),
        value: String(value),
      });
      const quota = size && quotaOf(size.cpus);
      return [
        ...(hasBurst ? [cpu('cpu.cfs_burst_us', 0)] : []),
        cpu('cpu.cfs_quota_us', quota ?? -1),
        ...(hasBurst && quota ? [cpu('cpu.cfs_burst_us', quota)] : []),
        cpu('cpu.shares', Math.round(1024 * (size?.cpus ?? 1))),
        memory('memory.soft_limit_in_bytes', size?.memory.soft ?? -1),
        memory('memory.limit_in_bytes', size?.memory.hard ?? -1),
      ];
    },
    weightOfAll: (nodeCpus) => ({
      path: join(parents.cpu, 'cpu.shares'),
      value: String(Math.min(262_144, 1024 * PROCESSES_PER_CPU * nodeCpus)),
    }),
    counters: (name) => {
      const usage = new CounterFile(join(parents.cpuacct, name, 'cpuacct.usage'));
      const cpu = new CounterFile(join(parents.cpu, name, 'cpu.stat'));
      const memory = new CounterFile(join(parents.memory, name, 'memory.stat'));
      const cpuSeconds = (): number => parseInt(usage.read(), 10) / 1e9;
      return {
        cpuSeconds,
        all: () => {
          const [used, held] = [cpu.read(), memory.read()];
          return {
            cpuSeconds: cpuSeconds(),
            ...periodsIn(used),
            throttledSeconds: counterIn(used, 'throttled_time') / 1e9,
            heldBytes: counterIn(held, 'rss') + counterIn(held, 'shmem'),
            refaultedBytes: counterIn(held, 'workingset_refault_file') * PAGE_BYTES,
          };
        },
        close: () => [usage, cpu, memory].forEach((file) => file.close()),
      };
    },
  };
}

function quotaOf(cpus: number): number {
  return Math.round(cpus * PERIOD_US);
}

function periodsIn(stat: string): { periods: number; throttledPeriods: number } {
  return { periods: counterIn(stat, 'nr_periods'), throttledPeriods: counterIn(stat, 'nr_throttled') };
}
