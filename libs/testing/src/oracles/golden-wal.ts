/**
 * Small pieces of WAL from a real server, with PostgreSQL's own reading of them: what the unit tests of `@coppice/postgres`
 * are fed. Segments are 1 MiB, to have their boundaries at hand.
 *
 *   <name>.wal.gz   the bytes, from a record end
 *   <name>.txt      where they start, then one line for each record as `describeRecord` prints it
 */
import { open } from 'node:fs/promises';
import { formatLsn, type LsnNumber } from '@coppice/vocabulary';
import { WAL_PAGE_SIZE } from '@coppice/postgres';
import { startPostgres, type TestPostgres } from '../servers/postgres';
import { captureWalBytes, currentWalPosition, flushWal } from './capture-wal';

export interface GoldenWal {
  readonly from: LsnNumber;
  readonly bytes: Buffer;
  /** From pg_walinspect; `info`, origin and top-level transaction, which it does not tell, are left out. */
  readonly lines: readonly string[];
}

type Scenario = (server: TestPostgres) => Promise<void>;

export const goldenScenarios: Readonly<Record<string, Scenario>> = { kinds, switched, overwritten };

/** Runs a scenario on a fresh server and captures its WAL. */
export async function captureGoldenWal(scenario: Scenario): Promise<GoldenWal> {
  const server = await startPostgres({
    initdbArgs: ['--wal-segsize=1'],
    settings: { autovacuum: false, wal_compression: 'pglz', checkpoint_timeout: '1h', min_wal_size: '2MB' },
  });
  try {
    await server.query('create extension pg_walinspect; checkpoint');
    await stopBeforeSegmentEnd(server);
    const from = await currentWalPosition(server);
    await scenario(server);
    const to = await flushWal(server);
    return {
      from,
      bytes: await captureWalBytes(server, from, to),
      lines: await readByPostgres(server, from, to),
    };
  } finally {
    await server.dispose();
  }
}

/** Fills the current segment up to about 24 KiB before its end. */
async function stopBeforeSegmentEnd(server: TestPostgres): Promise<void> {
  for (;;) {
    const left = server.walSegmentSize - ((await currentWalPosition(server)) % server.walSegmentSize);
    if (left >= 16_000 && left <= 24_000) return;
    const size = left > 40_000 ? Math.min(left - 20_000, 900_000) : left - 1000;
    await server.query("select pg_logical_emit_message(false, 'fill', repeat('f', $1))", [Math.max(size, 1)]);
  }
}

/** Many kinds of records, over a segment boundary. */
async function kinds(server: TestPostgres): Promise<void> {
  await server.query(`
    create table t (id int primary key, b text, p point, tags text[]);
    create index on t using hash (b);
    create index on t using gin (tags);
    create index on t using gist (p);
    insert into t select i, md5(i::text), point(i, -i), array[md5(i::text)] from generate_series(1, 40) i;
    update t set b = b || '!' where id % 7 = 0;
    delete from t where id % 5 = 0;
  `);
  await server.query('vacuum (freeze) t');
  await server.query("select pg_replication_origin_create('elsewhere')");
  await server.query("select pg_replication_origin_session_setup('elsewhere')");
  await server.query('begin; savepoint s; insert into t (id) values (1001); release s; commit');
  await server.query('select pg_replication_origin_session_reset()');
  await server.query("begin; insert into t (id) values (1002); prepare transaction 'p'");
  await server.query("commit prepared 'p'");
  await server.query("select pg_logical_emit_message(true, 'test', repeat('m', 20000))");
  await server.query('truncate t');
}

/** A forced switch to the next segment. */
async function switched(server: TestPostgres): Promise<void> {
  await server.query('create table before_switch as select 1 as i');
  await server.query('select pg_switch_wal()');
  await server.query('create table after_switch as select 1 as i');
}

/** A crash loses the rest of a record that spans pages: its start stays, an OVERWRITE_CONTRECORD follows. */
async function overwritten(server: TestPostgres): Promise<void> {
  await server.query('create table before_crash as select 1 as i');
  const start = await flushWal(server);
  await server.query("select pg_logical_emit_message(false, 'lost', repeat('x', 60000), true)");
  await server.kill9();
  await clearWal(server, start - (start % WAL_PAGE_SIZE) + 2 * WAL_PAGE_SIZE);
  await server.start();
  await server.query('create table after_crash as select 1 as i');
}

/** Zeroes a stopped server's WAL from `from` on, over the segment and the next. */
async function clearWal(server: TestPostgres, from: LsnNumber): Promise<void> {
  const inSegment = from % server.walSegmentSize;
  for (const [path, offset] of [
    [server.walFile(from), inSegment],
    [server.walFile(from + server.walSegmentSize), 0],
  ] as const) {
    const file = await open(path, 'r+');
    await file.write(Buffer.alloc(server.walSegmentSize - offset), 0, server.walSegmentSize - offset, offset);
    await file.close();
  }
}

/** Lines like those of `describeRecord`, made by PostgreSQL alone. */
async function readByPostgres(server: TestPostgres, from: LsnNumber, to: LsnNumber): Promise<string[]> {
  const rows = await server.query<{ line: string }>(
    `select concat_ws(' | ',
              format('%s end %s prev %s xid %s %s len %s main %s', r.start_lsn, r.end_lsn, r.prev_lsn, r.xid,
                     r.resource_manager, r.record_length, r.main_data_length),
              (select string_agg(
                        format('%s: %s/%s/%s.%s blk %s data %s%s', b.block_id, b.reltablespace, b.reldatabase,
                               b.relfilenode, b.relforknumber, b.relblocknumber, b.block_data_length,
                               case when b.block_fpi_info is not null
                                 then rtrim(format(' fpi %s %s', b.block_fpi_length, array_to_string(b.block_fpi_info, ',')))
                               end),
                        ' | ' order by b.block_id)
               from pg_get_wal_block_info($1, $2) b where b.start_lsn = r.start_lsn)) as line
     from pg_get_wal_records_info($1, $2) r order by r.start_lsn`,
    [formatLsn(from), formatLsn(to)],
  );
  return rows.map((row) => row.line);
}
