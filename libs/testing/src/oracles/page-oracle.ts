/** Runs a workload on a real server, replays its WAL with our redo and reports where the two disagree about a page. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { WalStreamDecoder } from '@coppice/postgres';
import { type PostgresSettings, type TestPostgres, preparePostgres } from '../servers/postgres';
import { BasePages } from './base-pages';
import { captureWal } from './capture-wal';
import { type FileComparison, compareWithFiles, permanentRelations } from './compare-files';
import { followWal, keepWal } from './follow-wal';
import { PageReplay, type PageReplayOptions } from './page-replay';

const run = promisify(execFile);

export interface PageOracleOptions extends PageReplayOptions {
  readonly workload: (server: TestPostgres) => Promise<void>;
  /** On top of the oracle's own; `wal_consistency_checking` must stay `all`. */
  readonly settings?: PostgresSettings;
}

export interface PageOracleResult {
  readonly replay: PageReplay;
  /** The server's files after a clean stop, against what the replay arrived at. */
  readonly files: FileComparison;
}

/**
 * A fresh cluster is copied, started and worked on while its WAL is replayed over the copy. When this returns, every
 * block of every record was compared, and then the files of the stopped server.
 */
export async function runPageOracle(options: PageOracleOptions): Promise<PageOracleResult> {
  const settings = {
    full_page_writes: false,
    autovacuum: false,
    ...options.settings,
    wal_consistency_checking: 'all',
  };
  const server = await preparePostgres({ settings });
  const copy = await mkdtemp(join(tmpdir(), 'coppice-base-'));
  const base = new BasePages(join(copy, 'data'));
  try {
    await run('cp', ['-a', '--reflink=auto', server.dataDirectory, join(copy, 'data')]);
    const replay = new PageReplay(base, options);
    const start = await checkpointPosition(server.dataDirectory);
    await server.start();
    await keepWal(server);
    const decoder = new WalStreamDecoder(start);
    const feed = (chunk: Buffer): void => decoder.push(chunk, (record) => replay.replay(record));

    let over = false;
    const working = options.workload(server).finally(() => (over = true));
    const replaying = (async () => {
      for await (const chunk of followWal(server, start, () => over)) feed(chunk);
    })();
    for (const outcome of await Promise.allSettled([working, replaying]))
      if (outcome.status === 'rejected') throw outcome.reason;

    const relations = await permanentRelations(server);
    await server.stop('fast');
    for await (const chunk of captureWal(
      server,
      decoder.position,
      await checkpointPosition(server.dataDirectory),
    ))
      feed(chunk);
    return { replay, files: compareWithFiles(server.dataDirectory, relations, replay.pages) };
  } catch (error) {
    throw new Error(
      `the page oracle did not finish; the end of the server's log:\n${(await server.log()).slice(-3000)}`,
      { cause: error },
    );
  } finally {
    base.close();
    await server.dispose();
    await rm(copy, { recursive: true, force: true });
  }
}

/** Where a cluster was shut down: the start of its last checkpoint record (`ControlFileData.checkPoint`). */
async function checkpointPosition(dataDirectory: string): Promise<number> {
  const control = await readFile(join(dataDirectory, 'global/pg_control'));
  return Number(control.readBigUInt64LE(32));
}

/** The sums, one line per kind of record, and every difference: for people to read. */
export function describeResult({ replay, files }: PageOracleResult): string {
  const rows = [...replay.counts].sort(([a], [b]) => (a < b ? -1 : 1));
  const compared = rows.reduce((sum, [, count]) => sum + count.compared, 0);
  const restored = rows.reduce((sum, [, count]) => sum + count.restored, 0);
  return [
    `${replay.records} records; ${compared} pages compared, ${restored} restored from images, ${replay.mismatches.length} mismatches`,
    `${files.pages} pages in files compared, ${files.differences.length} differences`,
    ...rows.map(([op, count]) => `${op.padEnd(24)} compared ${count.compared}, restored ${count.restored}`),
    ...replay.mismatches.map((m) => `\n${m.description}`),
    ...files.differences.map((d) => `\n${d}`),
  ].join('\n');
}
