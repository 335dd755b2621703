/** What failed, in few lines for the end of a run's output: of a long one, that is what is kept. */
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

/** Where more fail, it is the same everywhere. */
const MOST = 20;
const MESSAGE_LINES = 12;
const MESSAGE_LENGTH = 1_500;

/** Each failed test, and each file that could not be run, with the beginning of what it said; the first of them. */
export function failures(results: JestResults, root: string): string[] {
  const all = results.testResults.flatMap((file) => {
    const where = relative(root, file.name);
    const failed = file.assertionResults.filter((a) => a.status === 'failed');
    // Of one that broke off no tests are told.
    if (failed.length === 0 && file.status === 'failed') return [`${where}\n${beginning(file.message)}`];
    return failed.map((a) => `${where}: ${a.fullName}\n${beginning((a.failureMessages ?? []).join('\n'))}`);
  });
  return all.length <= MOST ? all : [...all.slice(0, MOST), `and ${all.length - MOST} more`];
}

function beginning(message: string): string {
  const lines = stripVTControlCharacters(message).slice(0, MESSAGE_LENGTH).split('\n');
  return lines
    .slice(0, MESSAGE_LINES)
    .map((line) => `    ${line}`)
    .join('\n');
}
