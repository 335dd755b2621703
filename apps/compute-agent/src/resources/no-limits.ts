import { readFileSync } from 'node:fs';
import type { UsageCounters } from '@coppice/scaling';
import type { Clock } from '@coppice/service-kit';
import type { ComputeResources, ResourceGroup } from './compute-resources';

/** Of `times` in /proc, on every architecture that Linux has. */
const TICKS_PER_SECOND = 100;

/** A node where nothing can be limited: what computes use is summed up from their processes, and is all they want. */
export class NoLimits implements ComputeResources {
  readonly kind = 'none';
  readonly nodeCpus: number;
  readonly #clock: Clock;

  constructor({ nodeCpus, clock }: { readonly nodeCpus: number; readonly clock: Clock }) {
    this.nodeCpus = nodeCpus;
    this.#clock = clock;
  }

  group(): ResourceGroup {
    let postmaster: number | undefined;
    return {
      add: async (pid) => void (postmaster = pid),
      usage: () => usageOf(postmaster, this.#clock.monotonic()),
      resize: async () => undefined,
      discard: () => void (postmaster = undefined),
    };
  }

  async removeLeftovers(): Promise<void> {}

  async close(): Promise<void> {}
}

/** A server's time holds that of its children that have ended. */
function usageOf(pid: number | undefined, atMs: number): UsageCounters {
  const cpuSeconds =
    pid === undefined ? 0 : [pid, ...childrenOf(pid)].map(secondsOf).reduce((sum, s) => sum + s, 0);
  return {
    atMs,
    cpuSeconds,
    periods: 0,
    throttledPeriods: 0,
    throttledSeconds: 0,
    heldBytes: 0,
    refaultedBytes: 0,
  };
}

function childrenOf(pid: number): number[] {
  return textOf(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number);
}

/** utime, stime, cutime and cstime: fields 14 to 17, counted from behind the name in parentheses, which is the second. */
function secondsOf(pid: number): number {
  const text = textOf(`/proc/${pid}/stat`);
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / TICKS_PER_SECOND;
}

/** Empty when the process has ended. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return '';
    throw error;
  }
}
