/** Whether a stack's services agree: `./coppice check`, as a test's claim. */
import type { Stack } from './stack';

/** How long something may look wrong that is only on its way, seconds. */
const PATIENCE = 15;

/** Fails with the list of differences when metadata, computes, storage and counters disagree about anything. */
export async function expectNoDifferences(stack: Stack, patienceSeconds = PATIENCE): Promise<void> {
  try {
    await stack.coppice('check', '--data-dir', stack.dataDirectory, '--patience', String(patienceSeconds));
  } catch (error) {
    const { stdout = '', stderr = '', message } = error as Error & { stdout?: string; stderr?: string };
    throw new Error(`the services of the stack disagree:\n${stdout || stderr || message}`, { cause: error });
  }
}
