/**
 * Makes the template timeline that all projects start on:
 *
 *   initdb ──► start once: default role and database, freeze ──► stop cleanly ──► all files to the pageserver
 *
 * Nothing follows it: its WAL ends with its shutdown checkpoint, at which the pageserver keeps it as one image.
 */
import { execFile } from 'node:child_process';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ImportPart, ImportResult } from '@coppice/contracts';
import { type Clock, CoppiceError, type Log, withDeadline } from '@coppice/service-kit';
import { dataFileOf } from '@coppice/postgres';
import { formatLsn, type TimelineId } from '@coppice/vocabulary';
import { Client } from 'pg';
import { SOCKET_PORT } from '../computes/compute-directory';
import type { PageserverClient } from '../pageserver/pages-stream';
import type { Installation } from '../postgres/installation';
import { PostgresProcess } from '../postgres/postgres-process';
import type { ServerUsers } from '../postgres/server-users';
import { writeConfiguration } from '../prepare/data-directory';
import { ADMIN_ROLE } from '../prepare/settings';
import { makeDirectory, type ServerUser } from '../prepare/write-layout';
import { CLOSE_TEMPLATE0, DATABASE_SETUP, DATABASES, OPEN_TEMPLATE0, SERVER_SETUP } from './template-sql';

const run = promisify(execFile);
const CHUNK_BYTES = 1024 * 1024;
const DEADLINE_MS = 150_000;

export interface TemplateBuilderOptions {
  readonly directory: string;
  readonly installation: Installation;
  readonly users: ServerUsers;
  readonly pageserver: PageserverClient;
  readonly clock: Clock;
  readonly log: Log;
}

export class TemplateBuilder {
  readonly #options: TemplateBuilderOptions;
  readonly #underWay = new Map<TimelineId, Promise<ImportResult>>();

  constructor(options: TemplateBuilderOptions) {
    this.#options = options;
  }

  /** Builds and imports, with a token that opens the timeline; a second call for the same timeline joins the first. */
  async build(timeline: TimelineId, token: string, signal: AbortSignal): Promise<ImportResult> {
    let work = this.#underWay.get(timeline);
    if (!work) {
      work = this.#build(timeline, token, withDeadline(DEADLINE_MS)).finally(() => this.#underWay.delete(timeline));
      this.#underWay.set(timeline, work);
    }
    signal.throwIfAborted();
    return work;
  }

  async #build(timeline: TimelineId, token: string, signal: AbortSignal): Promise<ImportResult> {
    const { directory, users, log, clock } = this.#options;
    const pageserver = this.#options.pageserver.as(token);
    const user = users.forInitdb();
    const started = clock.monotonic();
    const root = join(directory, `t-${timeline.slice(0, 12)}`);
    try {
      await rm(root, { recursive: true, force: true });
      makeDirectory(root, user);
      const data = join(root, 'data');
      const sockets = join(root, 's');
      makeDirectory(sockets, user);
      await this.#initialize(data, user, signal);
      await this.#setUp(data, sockets, user, signal);
      const result = await pageserver.importTimeline(importParts(timeline, data), { signal });
      log.info({ timeline, lsn: formatLsn(result.lsn), milliseconds: Math.round(clock.monotonic() - started) }, 'template is built');
      return result;
    } finally {
      await rm(root, { recursive: true, force: true });
    }
  }

  async #initialize(data: string, user: ServerUser | undefined, signal: AbortSignal): Promise<void> {
    const args = ['--username', ADMIN_ROLE, '--auth=trust', '--encoding=UTF8', '--locale=C.UTF-8', '--no-sync', '--pgdata', data];
    try {
      await run(join(this.#options.installation.binDirectory, 'initdb'), args, { cwd: '/', signal, env: { PATH: '/usr/bin:/bin', TZ: 'UTC', LC_ALL: 'C.UTF-8' }, ...user });
    } catch (error) {
      signal.throwIfAborted();
      const { stderr, message } = error as { stderr?: string; message: string };
      throw new CoppiceError('Internal', 'initdb-failed', `initdb fails: ${stderr?.trim() || message}`, { cause: error });
    }
  }

  async #setUp(data: string, sockets: string, user: ServerUser | undefined, signal: AbortSignal): Promise<void> {
    const { installation, clock, log } = this.#options;
    const configuration = { socketDirectory: sockets, port: SOCKET_PORT, computeUnits: 0, projectSettings: {}, replicated: false };
    writeConfiguration(data, configuration, user);
    const postgres = await PostgresProcess.start({ executable: join(installation.binDirectory, 'postgres'), dataDirectory: data, user, env: {}, clock, log });
    try {
      await postgres.ready(signal);
      await runSql(sockets, 'postgres', [...SERVER_SETUP, OPEN_TEMPLATE0]);
      for (const database of DATABASES) await runSql(sockets, database, DATABASE_SETUP);
      await runSql(sockets, 'postgres', [CLOSE_TEMPLATE0]);
      postgres.stop('fast');
      if ((await postgres.exited) !== 'exit 0') throw await postgres.whyGone();
    } finally {
      postgres.kill();
      await postgres.exited;
    }
  }
}

async function runSql(socketDirectory: string, database: string, statements: readonly string[]): Promise<void> {
  const client = new Client({ host: socketDirectory, port: SOCKET_PORT, user: ADMIN_ROLE, database });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}

/** The header, then every file that the pageserver keeps something of, in chunks. The files of a fresh cluster are small. */
async function* importParts(timelineId: TimelineId, data: string): AsyncGenerator<ImportPart> {
  yield { kind: 'header', value: { timelineId } };
  for (const entry of await readdir(data, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const full = join(entry.parentPath, entry.name);
    const path = full.slice(data.length + 1);
    if (dataFileOf(path)?.kind === 'left-out') continue;
    const content = await readFile(full);
    let at = 0;
    do {
      yield { kind: 'chunk', value: { path, content: content.subarray(at, at + CHUNK_BYTES) } };
      at += CHUNK_BYTES;
    } while (at < content.length);
  }
}
