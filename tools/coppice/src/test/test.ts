/** `coppice test`: lint, types, then every test kind in turn; at the end, what failed and the total. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { failures, type JestResults } from './failures';
import { prepareTestMachine } from './test-machine';

export interface TestOptions {
  readonly full: boolean;
  readonly pgSrc?: string;
}

interface Total {
  passed: number;
  failed: number;
  /** What failed, for the end of the output. */
  readonly failures: string[];
}

interface Kind {
  readonly name: string;
  /** How many files run beside each other: two cores are all there are. */
  readonly args: readonly string[];
  /** Of the nightly form alone. */
  readonly isNightly?: boolean;
}

const KINDS: readonly Kind[] = [
  { name: 'unit', args: ['--maxWorkers=2'] },
  // Mostly waiting for servers and disks.
  { name: 'int', args: ['--maxWorkers=3'] },
  // Much of it is waiting, too: for times to pass and for what was killed to come back.
  { name: 'e2e', args: ['--maxWorkers=2'] },
  // Alone, because it measures.
  { name: 'soak', args: ['--runInBand'], isNightly: true },
];

export async function test(pattern: readonly string[], options: TestOptions): Promise<void> {
  prepareTestMachine();
  const env = {
    ...process.env,
    NX_DAEMON: 'false',
    ...(options.full ? { COPPICE_TEST_FULL: 'true' } : {}),
    ...(options.pgSrc ? { COPPICE_TEST_PG_SRC: options.pgSrc } : {}),
  };
  const total: Total = { passed: 0, failed: 0, failures: [] };
  if (pattern.length === 0) {
    // The rule on rings and planes reads Nx's cached project graph: a stale one hides violations, without one it is skipped.
    await check('project graph', ['node_modules/.bin/nx', 'show', 'projects'], env, total);
    await Promise.all([
      check('types', ['node_modules/.bin/tsc', '-p', 'tsconfig.json', '--noEmit'], env, total),
      check('lint', ['node_modules/.bin/eslint', 'libs', 'apps', 'tools', 'e2e'], env, total),
    ]);
  }
  const results = mkdtempSync(join(tmpdir(), 'coppice-test-'));
  for (const kind of KINDS.filter((k) => options.full || !k.isNightly))
    runKind(kind, pattern, results, env, total);
  rmSync(results, { recursive: true });
  for (const failure of total.failures) console.log(`failed: ${failure}`);
  console.log(`${total.passed} passed, ${total.failed} failed`);
  process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
}

/** A whole-tree check counts as one test. It keeps one core busy, and what it says comes at its end. */
async function check(
  name: string,
  command: readonly string[],
  env: NodeJS.ProcessEnv,
  total: Total,
): Promise<void> {
  const child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'pipe'], env });
  const said: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => said.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
  const [status] = (await once(child, 'close')) as [number | null];
  console.log(`== ${name}`);
  process.stdout.write(Buffer.concat(said));
  if (status === 0) total.passed += 1;
  else fail(total, name);
}

function runKind(
  kind: Kind,
  pattern: readonly string[],
  results: string,
  env: NodeJS.ProcessEnv,
  total: Total,
): void {
  console.log(`== ${kind.name}`);
  const output = join(results, `${kind.name}.json`);
  const args = [
    'node_modules/.bin/jest',
    '--selectProjects',
    kind.name,
    '--passWithNoTests',
    '--json',
    `--outputFile=${output}`,
    ...kind.args,
    '--',
    ...pattern,
  ];
  const { status } = spawnSync(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'], env });
  let said: JestResults;
  try {
    said = JSON.parse(readFileSync(output, 'utf8')) as JestResults;
  } catch {
    fail(total, `jest of kind ${kind.name} ended with ${status} and no result`);
    return;
  }
  const failed = said.numFailedTests + said.numRuntimeErrorTestSuites;
  total.passed += said.numPassedTests;
  total.failed += failed;
  total.failures.push(...failures(said, process.cwd()));
  if (status !== 0 && failed === 0) fail(total, `jest of kind ${kind.name} ended with ${status}`);
}

function fail(total: Total, what: string): void {
  total.failed += 1;
  total.failures.push(what);
}
