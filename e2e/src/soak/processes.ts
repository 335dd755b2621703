/** What the services of a stack hold, by the kernel's own account. */
import { readdirSync, readFileSync } from 'node:fs';
import type { Sample, Stack } from '@coppice/testing';

const BYTES_PER_MB = 1024 * 1024;

export interface Held {
  /** Resident memory, MB. */
  readonly memory: Sample[];
  /** Open file descriptors. */
  readonly handles: Sample[];
}

/** Samples of every service, by its name; of one that was started again, those of its first process end. */
export class ProcessSamples {
  readonly byService = new Map<string, Held>();
  readonly #pids: ReadonlyMap<string, number>;

  constructor(stack: Stack) {
    this.#pids = new Map(stack.file.services.map(({ name, pid }) => [name, pid]));
    for (const name of this.#pids.keys()) this.byService.set(name, { memory: [], handles: [] });
  }

  /** Throws when a process is gone: no service may end under load. */
  take(at: number): void {
    for (const [name, pid] of this.#pids) {
      const { memory, handles } = this.byService.get(name)!;
      memory.push({ at, value: residentMb(pid) });
      handles.push({ at, value: readdirSync(`/proc/${pid}/fd`).length });
    }
  }
}

function residentMb(pid: number): number {
  const kb = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  if (kb === undefined) throw new Error(`process ${pid} has no memory any more`);
  return (Number(kb) * 1024) / BYTES_PER_MB;
}
