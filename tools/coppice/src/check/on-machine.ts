/** Postgres servers of computes and their directories, as this machine shows them. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ComputeOnMachine } from './compare';

/** Names that compute agents give to directories of computes; others are being removed. */
const COMPUTE = /^[0-9a-f]{12}$/;

/** What runs or lies below a directory of computes. */
export function computesOnMachine(directory: string): ComputeOnMachine[] {
  return [...directoriesIn(directory), ...serversIn(directory)];
}

function directoriesIn(directory: string): ComputeOnMachine[] {
  return readdirSync(directory)
    .filter((name) => COMPUTE.test(name))
    .map((name) => ({ directory: join(directory, name) }));
}

function serversIn(directory: string): ComputeOnMachine[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      const data = dataDirectoryOf(pid);
      return data !== undefined && dirname(dirname(data)) === directory
        ? [{ directory: dirname(data), pid: Number(pid) }]
        : [];
    });
}

/** Of the server process alone: its children show a title instead of their arguments. */
function dataDirectoryOf(pid: string): string | undefined {
  let line: string[];
  try {
    line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    // It has ended.
    return undefined;
  }
  return line[0]?.endsWith('postgres') && line[1] === '-D' ? line[2] : undefined;
}
