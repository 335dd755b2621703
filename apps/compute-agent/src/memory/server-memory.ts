/**
 * What the processes of a PostgreSQL server take, from /proc/<pid>/status of each: its own anonymous memory, and the shared
 * memory that they all map once. Pages of files are the kernel's to drop and do not count. Within some percent of the sum of
 * their proportional sizes (smaps_rollup), at a twentieth of its cost; pages that a child still shares with the postmaster
 * count twice.
 */
import { childrenOf, readProc } from '../postgres/server-processes';

export interface ProcessMemory {
  readonly anonymousBytes: number;
  readonly sharedBytes: number;
}

/** Of one /proc/<pid>/status; `undefined` of a process that is ending, which has none any more. */
export function processMemory(status: string): ProcessMemory | undefined {
  const kb = (name: string): number | undefined => {
    const found = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
    return found === undefined ? undefined : Number(found) * 1024;
  };
  const [anonymousBytes, sharedBytes] = [kb('RssAnon'), kb('RssShmem')];
  return anonymousBytes === undefined || sharedBytes === undefined
    ? undefined
    : { anonymousBytes, sharedBytes };
}

export function serverBytes(processes: readonly ProcessMemory[]): number {
  return (
    processes.reduce((sum, p) => sum + p.anonymousBytes, 0) +
    Math.max(0, ...processes.map((p) => p.sharedBytes))
  );
}

/** Of the server with this postmaster; `undefined` when it is gone. */
export function measureServer(postmaster: number): number | undefined {
  const children = childrenOf(postmaster);
  if (children === undefined) return undefined;
  const processes = [postmaster, ...children].flatMap((pid) => {
    const status = readProc(`/proc/${pid}/status`);
    const memory = status === undefined ? undefined : processMemory(status);
    return memory ? [memory] : [];
  });
  return processes.length === 0 ? undefined : serverBytes(processes);
}
