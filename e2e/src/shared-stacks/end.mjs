/** After all files: the services of each stack that they shared must agree, as those of a stack of one file's own. */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const coppice = join(import.meta.dirname, '../../../coppice');

export default async function end() {
  const shared = process.env.COPPICE_TEST_SHARED_STACKS;
  for (const name of readdirSync(shared)) {
    const directory = join(shared, name);
    const { runDirectory } = JSON.parse(readFileSync(join(directory, 'stack.json'), 'utf8'));
    try {
      await run(coppice, ['check', '--data-dir', directory, '--patience', '15']);
    } catch (error) {
      throw new Error(
        `the services of a shared stack disagree:\n${error.stdout || error.stderr || error.message}`,
      );
    } finally {
      await run(coppice, ['down', '--data-dir', directory]);
      rmSync(runDirectory, { recursive: true, force: true });
    }
  }
  rmSync(shared, { recursive: true });
}
