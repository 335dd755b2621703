/** The template that all projects start on: built by a real initdb, taken as files, started again from those files. */
import { appendFileSync, chmodSync, chownSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { ImportPart } from '@coppice/contracts';
import { postgresBinDirectory, silentLog, systemClock } from '@coppice/service-kit';
import { serverUser } from '@coppice/testing';
import { lsn, parseTimelineId } from '@coppice/vocabulary';
import { Client } from 'pg';
import type { PageserverClient } from '../pageserver/pages-stream';
import { prepareInstallation } from '../postgres/installation';
import { PostgresProcess } from '../postgres/postgres-process';
import { ServerUsers } from '../postgres/server-users';
import { writeConfiguration } from '../prepare/data-directory';
import { DIRECTORIES } from '../prepare/layout';
import { makeDirectory } from '../prepare/write-layout';
import { TemplateBuilder } from './build-template';

const EXTENSIONS = [
  'bloom', 'pg_trgm', 'btree_gist', 'btree_gin', 'pgcrypto', 'hstore', 'citext', 'ltree', 'intarray', 'cube', 'earthdistance', 'uuid-ossp', 'unaccent',
  'fuzzystrmatch', 'tablefunc', 'pg_stat_statements', 'postgres_fdw',
];

describe('the template', () => {
  const directory = mkdtempSync(join(tmpdir(), 'cpt-'));
  const data = join(directory, 'imported');
  const sockets = join(directory, 's');
  let postgres: PostgresProcess;
  let owner: Client;

  beforeAll(async () => {
    chmodSync(directory, 0o711);
    const users = new ServerUsers({ initdb: serverUser ?? { uid: 0, gid: 0 }, firstUid: 210_000, count: 1 });
    const installation = prepareInstallation(postgresBinDirectory(), directory);
    const builder = new TemplateBuilder({ directory, installation, users, pageserver: keeper(data, directory), clock: systemClock, log: silentLog() });
    const timeline = parseTimelineId('0'.repeat(31) + '1')!;
    const both = await Promise.all([builder.build(timeline, 'a token', AbortSignal.timeout(60_000)), builder.build(timeline, 'a token', AbortSignal.timeout(60_000))]);
    expect(both[0]).toBe(both[1]);

    makeDirectory(sockets, serverUser);
    writeConfiguration(data, { socketDirectory: sockets, port: 5432, computeUnits: 0, projectSettings: {}, replicated: false }, serverUser);
    own(data);
    postgres = await PostgresProcess.start({
      executable: join(installation.binDirectory, 'postgres'), dataDirectory: data, user: serverUser, env: {}, clock: systemClock, log: silentLog(),
    });
    await postgres.ready(AbortSignal.timeout(60_000));
    owner = new Client({ host: sockets, port: 5432, user: 'neondb_owner', database: 'neondb' });
    owner.on('error', () => undefined);
    await owner.connect();
  }, 120_000);
  afterAll(async () => {
    postgres?.kill();
    await postgres?.exited;
    rmSync(directory, { recursive: true, force: true });
  });

  it('leaves nothing behind but what was imported', () => {
    expect(readdirSync(directory).filter((name) => name.startsWith('t-'))).toEqual([]);
  });

  it('has a default role that is no superuser, and its database', async () => {
    const { rows } = await owner.query(`
      select rolsuper, rolcreatedb, rolcreaterole, rolreplication, (select pg_get_userbyid(datdba) from pg_database where datname = 'neondb') as owner
      from pg_roles where rolname = current_user`);
    expect(rows[0]).toEqual({ rolsuper: false, rolcreatedb: true, rolcreaterole: true, rolreplication: false, owner: 'neondb_owner' });
    for (const statement of ['create role app login', 'create database other', 'create table t (a int)']) await owner.query(statement);
  });

  it.each(EXTENSIONS)('lets that role create the extension %s', async (name) => {
    await owner.query(`create extension "${name}" cascade`);
  });

  it('lets it use the foreign data wrapper, but not without a password', async () => {
    await owner.query(`
      create server loop foreign data wrapper postgres_fdw options (host '${sockets}', dbname 'neondb');
      create user mapping for current_user server loop options (user 'coppice_admin');
      create foreign table remote (a int) server loop options (table_name 't')`);
    await expect(owner.query('select * from remote')).rejects.toThrow(/password/);
  });

  it.each(['file_fdw', 'dblink', 'adminpack', 'pageinspect'])('does not let it create %s', async (name) => {
    await expect(owner.query(`create extension ${name}`)).rejects.toThrow(/permission denied|not available/);
  });

  it('lets nobody else write messages into the WAL, in no database that can be made', async () => {
    await owner.query('create database copied template template0');
    const copied = new Client({ host: sockets, port: 5432, user: 'neondb_owner', database: 'copied' });
    await copied.connect();
    try {
      for (const client of [owner, copied])
        for (const content of ["'x'::text", "'x'::bytea"])
          await expect(client.query(`select pg_logical_emit_message(false, 'p', ${content})`)).rejects.toThrow(/permission denied/);
    } finally {
      await copied.end();
    }
    const { rows } = await owner.query("select datallowconn from pg_database where datname = 'template0'");
    expect(rows).toEqual([{ datallowconn: false }]);
  });

  it('keeps the server’s files and programs from it', async () => {
    await expect(owner.query("copy t from '/etc/passwd'")).rejects.toThrow(/permission denied/);
    await expect(owner.query("copy t to program 'cat'")).rejects.toThrow(/permission denied/);
    await expect(owner.query("alter system set work_mem = '1MB'")).rejects.toThrow(/not allowed|permission denied/);
  });
});

/** Keeps what is imported as a data directory. */
function keeper(data: string, directory: string): PageserverClient {
  const client = {
    as: (): PageserverClient => client,
    importTimeline: async (parts: AsyncIterable<ImportPart>) => {
      for (const path of DIRECTORIES) mkdirSync(join(data, path), { recursive: true, mode: 0o700 });
      for await (const part of parts) {
        if (part.kind === 'header') continue;
        const path = join(data, part.value.path);
        mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
        appendFileSync(path, part.value.content, { mode: 0o600 });
      }
      // The pageserver makes the end of the WAL itself; a server on these files needs it as it was.
      const made = readdirSync(directory).find((name) => name.startsWith('t-'))!;
      cpSync(join(directory, made, 'data/pg_wal'), join(data, 'pg_wal'), { recursive: true });
      return { lsn: lsn(1n), systemIdentifier: 1n };
    },
  } as unknown as PageserverClient;
  return client;
}

function own(data: string): void {
  chmodSync(data, 0o700);
  if (!serverUser) return;
  for (const name of ['', ...(readdirSync(data, { recursive: true }) as string[])]) {
    if (existsSync(join(data, name))) chownSync(join(data, name), serverUser.uid, serverUser.gid);
  }
}
