/**
 * Named points at which a test can make the process die or fail: `COPPICE_FAILPOINTS=flush-before-manifest=kill`.
 * Actions: `kill` (SIGKILL to itself), `error` (throws). In `COPPICE_FAILPOINT_DIRECTORY`, a file with the name of a point
 * and the action as its content arms the point once, for whichever process comes by first. Without the variables a failpoint
 * costs one map lookup.
 */
import { readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';

const active = new Map(
  (process.env['COPPICE_FAILPOINTS'] ?? '')
    .split(',')
    .filter((part) => part.includes('='))
    .map((part) => part.split('=') as [string, string]),
);
const directory = process.env['COPPICE_FAILPOINT_DIRECTORY'];

export function failpoint(name: string): void {
  const action = active.get(name) ?? (directory === undefined ? undefined : claim(directory, name));
  if (action === undefined) return;
  if (action === 'kill') process.kill(process.pid, 'SIGKILL');
  throw new Error(`failpoint ${name}: ${action}`);
}

/** The action that a file arms, for one claimant: a file can be renamed away once. What was claimed stays as `<name>.hit`. */
function claim(from: string, name: string): string | undefined {
  const hit = join(from, `${name}.hit`);
  try {
    renameSync(join(from, name), hit);
  } catch {
    return undefined;
  }
  return readFileSync(hit, 'utf8').trim();
}

/** Arms a failpoint from a test in the same process; the returned function disarms it. */
export function armFailpoint(name: string, action: 'kill' | 'error'): () => void {
  active.set(name, action);
  return () => active.delete(name);
}
