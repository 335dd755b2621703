/** Before all files: the directory of the stacks that they share (`sharedStack` in `@coppice/testing`). */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export default function begin() {
  // Each stack would fill as many as a node wants, beside the others' tests.
  process.env.COPPICE_AGENT_SPARE_MEMORIES ??= '4';
  process.env.COPPICE_TEST_SHARED_STACKS = mkdtempSync(join(tmpdir(), 'coppice-shared-'));
}
