/** What the machine, or the cgroup that holds the agent to less of it, has for computes. */
import { readFileSync } from 'node:fs';

export interface NodeMemory {
  readonly totalBytes: number;
  /** Could be had without swapping. */
  readonly availableBytes: number;
}

export interface MemoryBudget {
  /** What computes may take together: as configured, 0 for a share of the total. */
  readonly configuredBytes: number;
  /** What they take now. */
  readonly usedBytes: number;
  readonly node: NodeMemory;
}

/** Of the total for computes when nothing is configured: the services and the page cache have the rest. */
const SHARE = 0.7;
/** Left to the machine whatever is configured. */
const RESERVE = 0.05;

/** Less than configured where the machine has no more to give: what others take is not there for computes. Pure. */
export function budgetBytes({ configuredBytes, usedBytes, node }: MemoryBudget): number {
  const wanted = configuredBytes > 0 ? configuredBytes : node.totalBytes * SHARE;
  const toBeHad = usedBytes + node.availableBytes - node.totalBytes * RESERVE;
  return Math.floor(Math.max(0, Math.min(wanted, toBeHad)));
}

/** Whether so much is left that a compute may start at all, whoever counted on what. Pure. */
export function hasRoomLeft(node: NodeMemory): boolean {
  return node.availableBytes > (node.totalBytes * RESERVE) / 2;
}

export interface MemoryFiles {
  readonly meminfo: string;
  /** Limit and use of the agent's cgroup in bytes, as the kernel writes them; `undefined` where there is none. */
  readonly cgroup: { readonly limit: string; readonly used: string; readonly stat: string } | undefined;
}

/** Pure. */
export function nodeMemory({ meminfo, cgroup }: MemoryFiles): NodeMemory {
  const kb = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(meminfo)?.[1] ?? 0);
  const [total, available] = [kb('MemTotal') * 1024, kb('MemAvailable') * 1024];
  // `max` in version 2, a huge number in version 1: no limit.
  const limit = Number(cgroup?.limit.trim());
  if (!cgroup || !(limit < total)) return { totalBytes: total, availableBytes: available };
  // The page cache of files that are not in use is part of what is used, and could be had.
  const cache = Number(/^(?:total_)?inactive_file (\d+)$/m.exec(cgroup.stat)?.[1] ?? 0);
  const left = Math.max(0, limit - Number(cgroup.used.trim()) + cache);
  return { totalBytes: limit, availableBytes: Math.min(available, left) };
}

/** Where the kernel shows the cgroup of a process inside it: version 2, then version 1. */
const CGROUPS = [
  {
    limit: '/sys/fs/cgroup/memory.max',
    used: '/sys/fs/cgroup/memory.current',
    stat: '/sys/fs/cgroup/memory.stat',
  },
  {
    limit: '/sys/fs/cgroup/memory/memory.limit_in_bytes',
    used: '/sys/fs/cgroup/memory/memory.usage_in_bytes',
    stat: '/sys/fs/cgroup/memory/memory.stat',
  },
];

export function readNodeMemory(): NodeMemory {
  return nodeMemory({ meminfo: readFileSync('/proc/meminfo', 'utf8'), cgroup: readCgroup() });
}

function readCgroup(): MemoryFiles['cgroup'] {
  for (const { limit, used, stat } of CGROUPS) {
    try {
      return {
        limit: readFileSync(limit, 'utf8'),
        used: readFileSync(used, 'utf8'),
        stat: readFileSync(stat, 'utf8'),
      };
    } catch {
      // Not this version, or not in a cgroup of its own.
    }
  }
  return undefined;
}
