/** What failed, in few lines that fit below the total: of a long run's output, the end is what is kept. */
import { relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

/** Jest's `--json` output, as far as it is read here: `FormattedTestResults` of @jest/test-result. */
export interface JestResults {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numRuntimeErrorTestSuites: number;
  readonly testResults: readonly JestFile[];
}

interface JestFile {
  /** An absolute path. */
  readonly name: string;
  readonly status: string;
  /** Why the file could not be run, among others. */
  readonly message: string;
  readonly assertionResults: readonly {
    readonly status: string;
    readonly fullName: string;
    readonly failureMessages: readonly string[] | null;
  }[];
}

const MESSAGE_LINES = 12;
const MESSAGE_LENGTH = 1_500;

/** Each failed test with its file and the beginning of what it said. */
export function failures(results: JestResults, root: string): string[] {
  return results.testResults.flatMap((file) => {
    const where = relative(root, file.name);
    const failed = file.assertionResults.filter((a) => a.status === 'failed');
    if (failed.length === 0 && file.status === 'failed') return [`${where}\n${beginning(file.message)}`];
    return failed.map((a) => `${where}: ${a.fullName}\n${beginning((a.failureMessages ?? []).join('\n'))}`);
  });
}

function beginning(message: string): string {
  const lines = stripVTControlCharacters(message).slice(0, MESSAGE_LENGTH).split('\n');
  return lines
    .slice(0, MESSAGE_LINES)
    .map((line) => `    ${line}`)
    .join('\n');
}
