/**
 * One stack for many spec files, each of which leaves it as it found it: a start and the look at its end cost more than many a file.
 * Files that run beside each other have one each. `e2e/src/shared-stacks` makes their
 * directory before all files and ends them after.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, type Json, Stack } from './stack';

/** Names the directory of the stacks that are shared. */
const SHARED_STACKS = 'COPPICE_TEST_SHARED_STACKS';
const PORT_BASE = 'port-base';

/** The one of this worker of jest; started by the first file that asks. Give it back with `leave`. */
export async function sharedStack(): Promise<Stack> {
  const directory = join(process.env[SHARED_STACKS]!, `worker-${process.env['JEST_WORKER_ID'] ?? 1}`);
  if (existsSync(join(directory, PORT_BASE))) return attach(directory);
  mkdirSync(directory);
  const stack = await Stack.startIn(directory);
  writeFileSync(join(directory, PORT_BASE), String(stack.portBase));
  return stack;
}

function attach(directory: string): Stack {
  return Stack.at(directory, Number(readFileSync(join(directory, PORT_BASE), 'utf8')));
}

/** Deletes all projects for good; resolves when no compute of theirs runs. */
export async function leave(stack: Stack): Promise<void> {
  for (const query of ['', '?recoverable=true']) {
    const { projects } = await stack.ask('GET', `/projects${query}`);
    await Promise.all(
      projects.map(({ id }: Json) => stack.ask('DELETE', `/projects/${id}?hard_delete=true`)),
    );
  }
  await eventually(20_000, async () => {
    const pids = stack.computePids();
    if (pids.length > 0) throw new Error(`computes of deleted projects run: ${pids.join(', ')}`);
  });
}
