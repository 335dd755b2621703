/**
 * One stack for many spec files, each of which leaves no project in it: a start and the look at its end cost more than many a file.
 * Files that run beside each other have one each. `e2e/src/shared-stacks` makes their
 * directory before all files and ends them after.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expectNoDifferences } from './checked';
import { eventually, type Json, Stack } from './stack';

/** Names the directory of the stacks that are shared. */
const SHARED_STACKS = 'COPPICE_TEST_SHARED_STACKS';
const PORT_BASE = 'port-base';

/** The one of this worker of jest; started by the first file that asks. Give it back with `leave`. */
export async function sharedStack(): Promise<Stack> {
  const directory = join(process.env[SHARED_STACKS]!, `worker-${process.env['JEST_WORKER_ID'] ?? 1}`);
  if (existsSync(join(directory, PORT_BASE))) return attach(directory);
  mkdirSync(directory, { recursive: true });
  const stack = await Stack.startIn(directory);
  writeFileSync(join(directory, PORT_BASE), String(stack.portBase));
  return stack;
}

function attach(directory: string): Stack {
  return Stack.at(directory, Number(readFileSync(join(directory, PORT_BASE), 'utf8')));
}

/** Looks whether its services agree, and deletes all projects for good; resolves when no compute of theirs runs. */
export async function leave(stack: Stack): Promise<void> {
  try {
    await expectNoDifferences(stack);
  } finally {
    await eventually(30_000, () => deleteProjects(stack));
  }
}

async function deleteProjects(stack: Stack): Promise<void> {
  const left = [...(await deleteAll(stack, '')), ...(await deleteAll(stack, '&recoverable=true'))];
  const pids = stack.computePids();
  if (left.length > 0 || pids.length > 0)
    throw new Error(`there are still projects (${left.join(', ')}) or computes (${pids.join(', ')})`);
}

/** Of one page of projects. */
async function deleteAll(stack: Stack, query: string): Promise<string[]> {
  const { projects } = await stack.ask('GET', `/projects?limit=400${query}`);
  const ids = projects.map(({ id }: Json) => id as string);
  await Promise.all(ids.map((id: string) => stack.ask('DELETE', `/projects/${id}?hard_delete=true`)));
  return ids;
}
