/** The processes of a PostgreSQL server, as /proc shows them. */
import { readFileSync } from 'node:fs';

/** A file of /proc; `undefined` of a process that has ended, and of what this agent may not see. */
export function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}

/** Process ids of the server's own processes and of its sessions; `undefined` when it is gone. */
export function childrenOf(postmaster: number): number[] | undefined {
  return readProc(`/proc/${postmaster}/task/${postmaster}/children`)
    ?.split(' ')
    .filter((c) => c !== '')
    .map(Number);
}

/** What it says of itself (set_ps_display), such as `postgres: app shop [local] idle`. */
export function titleOf(pid: number): string {
  return (readProc(`/proc/${pid}/cmdline`) ?? '').replace(/[\0 ]+$/, '');
}
