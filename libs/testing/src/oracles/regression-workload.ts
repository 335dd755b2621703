/** PostgreSQL's own regression SQL as a workload. Its outputs are not looked at: what matters is the WAL it makes. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { TestPostgres } from '../servers/postgres';
import { type PageOracleResult, runPageOracle } from './page-oracle';

const run = promisify(execFile);
const DATABASE = 'regression';

export interface RegressionOptions {
  /** Root of a PostgreSQL source tree; the server's user must be able to read it. */
  readonly sourceTree: string;
  /** `psql`, of any recent version. */
  readonly psql?: string;
  /** Names of tests to leave out. */
  readonly without?: readonly string[];
  readonly testTimeoutMs?: number;
  /** Called as each group of tests ends. */
  readonly onGroup?: (tests: readonly string[]) => void;
}

/**
 * The page oracle on the regression SQL, with autovacuum working against it: some two million pages, minutes. Take the
 * source tree of the server's own minor version: later ones have tests for crashes that it still has.
 */
export function compareRedoOnRegressionSql(options: RegressionOptions): Promise<PageOracleResult> {
  return runPageOracle({
    settings: { autovacuum: true, autovacuum_naptime: 5, max_connections: 60, shared_buffers: '128MB' },
    workload: regressionWorkload(options),
  });
}

/** Runs the groups of `parallel_schedule` one after another, the tests of a group at once. Tests may fail. */
export function regressionWorkload(options: RegressionOptions): (server: TestPostgres) => Promise<void> {
  const directory = join(options.sourceTree, 'src/test/regress');
  return async (server) => {
    await server.query(`create database ${DATABASE} template template0`);
    const schedule = await readFile(join(directory, 'parallel_schedule'), 'utf8');
    for (const group of groupsOf(schedule)) {
      const tests = group.filter((test) => !options.without?.includes(test));
      await Promise.all(tests.map((test) => runTest(server, directory, test, options)));
      options.onGroup?.(tests);
    }
  };
}

function groupsOf(schedule: string): string[][] {
  return [...schedule.matchAll(/^test:(.*)$/gm)].map((line) => line[1]!.trim().split(/\s+/));
}

async function runTest(
  server: TestPostgres,
  directory: string,
  test: string,
  options: RegressionOptions,
): Promise<void> {
  const args = ['-X', '-q', '-a', '-v', 'HIDE_TABLEAM=on', '-v', 'HIDE_TOAST_COMPRESSION=on', '-d', DATABASE];
  try {
    await run(options.psql ?? 'psql', [...args, '-f', join(directory, 'sql', `${test}.sql`)], {
      timeout: options.testTimeoutMs ?? 600_000,
      maxBuffer: 256 * 1024 * 1024,
      env: {
        ...process.env,
        PGHOST: server.socketDirectory,
        PGPORT: String(server.port),
        PGUSER: 'postgres',
        PGTZ: 'PST8PDT',
        PGDATESTYLE: 'Postgres, MDY',
        PG_ABS_SRCDIR: directory,
        PG_ABS_BUILDDIR: directory,
        PG_LIBDIR: '/nonexistent',
        PG_DLSUFFIX: '.so',
      },
    });
  } catch (error) {
    // psql's own exit status says that SQL failed, which many of these tests mean to do.
    if (typeof (error as { code?: unknown }).code === 'string') throw error;
  }
}
