/** After all files: ends the stacks that they shared, whatever state they are in. Each file has looked whether its services agree. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const coppice = join(import.meta.dirname, '../../../coppice');

async function remove(directory) {
  const file = join(directory, 'stack.json');
  if (!existsSync(file)) return;
  const { runDirectory } = JSON.parse(readFileSync(file, 'utf8'));
  try {
    await run(coppice, ['down', '--data-dir', directory], { timeout: 120_000 });
  } finally {
    rmSync(runDirectory, { recursive: true, force: true });
  }
}

export default async function end() {
  const shared = process.env.COPPICE_TEST_SHARED_STACKS;
  const ended = await Promise.allSettled(readdirSync(shared).map((name) => remove(join(shared, name))));
  rmSync(shared, { recursive: true, force: true });
  const failures = ended.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
  if (failures.length > 0)
    throw new AggregateError(failures, `shared stacks do not end: ${failures.join('; ')}`);
}
