import {
  RecordBoundaries,
  recordBoundaryAtOrBefore,
  WAL_PAGE_SIZE,
  WalStreamDecoder,
} from '@coppice/postgres';
import { FULL } from '../full';
import { type PostgresSettings, startPostgres, type TestPostgres } from '../servers/postgres';
import { captureWal, captureWalBytes, currentWalPosition, flushWal } from './capture-wal';
import { compareWithWalinspect } from './waldump-oracle';

/** Touches every resource manager but BRIN's rarer records, in a few thousand records. */
async function workload(server: TestPostgres): Promise<void> {
  await server.query(`
    create table t (id serial primary key, a int, b text, p point, tags text[]);
    create index on t using hash (a);
    create index on t using gin (tags);
    create index on t using gist (p);
    create index on t using spgist (b);
    create index on t using brin (id) with (autosummarize = off);
    insert into t (a, b, p, tags)
      select i % 97, repeat(md5(i::text), 1 + i % 7), point(i % 31, i % 17), array[md5(i::text), (i % 10)::text]
      from generate_series(1, 1500) i;
    update t set a = a + 1 where id % 5 = 0;
    delete from t where id % 3 = 0;
    select pg_logical_emit_message(true, 'test', repeat('m', 30000));
    select pg_logical_emit_message(false, 'test', 'not transactional');
    select brin_summarize_range('t_id_idx', 0);
  `);
  await server.query('vacuum (freeze) t');
  for (let i = 0; i < 50; i++)
    await server.query('insert into t (a, b) values ($1, $2)', [i, 'x'.repeat(i * 40)]);
  await server.query(
    'begin; select * from t where id < 50 for share; savepoint s; insert into t (a) values (1)',
  );
  const other = await server.connect();
  await other.query('begin; select * from t where id < 50 for share; commit');
  await other.end();
  await server.query("rollback to s; insert into t (a) values (2); prepare transaction 'p1'");
  await server.query("begin; insert into t (a) values (3); prepare transaction 'p2'");
  await server.query("commit prepared 'p1'");
  await server.query("rollback prepared 'p2'");
  await server.query("select pg_create_restore_point('here'); checkpoint");
  await server.query('truncate t');
  await server.query('vacuum full pg_class');
  await server.query('create table toasted (v text); alter table toasted alter v set storage external');
  await server.query('insert into toasted select repeat(md5(i::text), 3000) from generate_series(1, 20) i');
  await server.query('create database copied strategy file_copy');
  await server.query('create database logged strategy wal_log');
  await server.query('drop database copied');
}

const ALWAYS: [string, PostgresSettings][] = [
  ['plain', {}],
  [
    'as a compute writes it',
    { full_page_writes: false, wal_consistency_checking: 'gin,gist,spgist,hash,brin' },
  ],
];
/** The oracle of pages reads compressed images each time. */
const NIGHTLY: [string, PostgresSettings][] = [
  ['wal_compression=pglz', { wal_compression: 'pglz' }],
  ['wal_consistency_checking=all', { wal_consistency_checking: 'all' }],
];

describe.each(FULL ? [...ALWAYS, ...NIGHTLY] : ALWAYS)('WAL of a real server, %s', (_name, settings) => {
  let server: TestPostgres;
  let from: number;
  let to: number;
  beforeAll(async () => {
    server = await startPostgres({ settings: { autovacuum: false, ...settings } });
    await server.query('create extension pg_walinspect');
    from = await currentWalPosition(server);
    await workload(server);
    await server.query('select pg_switch_wal()');
    await workload2(server);
    to = await flushWal(server);
  });
  afterAll(() => server.dispose());

  it('reads as PostgreSQL reads it, record by record', async () => {
    const result = await compareWithWalinspect(server, from, to);
    expect(result.differences.slice(0, 20)).toEqual([]);
    expect(result.records).toBeGreaterThan(4000);
    expect(result.kinds.get('XLOG/SWITCH')).toBe(1);
    expect(new Set([...result.kinds.keys()].map((kind) => kind.split('/')[0]))).toEqual(
      new Set(
        [
          'XLOG',
          'Transaction',
          'Storage',
          'Database',
          'MultiXact',
          'RelMap',
          'Standby',
          'Heap2',
          'Heap',
          'Btree',
        ].concat(['Hash', 'Gin', 'Gist', 'Sequence', 'SPGist', 'BRIN', 'LogicalMessage']),
      ),
    );
    console.info(
      `${result.records} records, ${result.blocks} blocks, ${result.images} images, ${result.kinds.size} kinds, ${result.bytes} bytes`,
    );
  });

  it('has the same record ends for one who keeps no bytes, however the bytes are cut', async () => {
    const ends: number[] = [];
    const decoder = new WalStreamDecoder(from);
    const boundaries = new RecordBoundaries(from);
    let cut = 1;
    for await (const chunk of captureWal(server, from, to)) {
      decoder.push(chunk, (record) => ends.push(record.endLsn));
      for (let at = 0; at < chunk.length; ) {
        const next = Math.min(chunk.length, at + cut);
        boundaries.push(chunk.subarray(at, next));
        at = next;
        cut = 1 + ((cut * 7919) % 9001);
      }
      expect(boundaries.lastRecordEnd).toBe(decoder.lastRecordEnd);
    }
    expect(boundaries.lastRecordEnd).toBe(to);
    expect(ends.at(-1)).toBe(to);
  });

  it('has the last record end before any position, found from page headers alone', async () => {
    const ends = [from];
    const decoder = new WalStreamDecoder(from);
    for await (const chunk of captureWal(server, from, to)) decoder.push(chunk, (r) => ends.push(r.endLsn));
    let next = 0;
    for (let lsn = from + 40_000; lsn < Math.min(to, from + 2_000_000); lsn += 1237) {
      while (ends[next + 1]! <= lsn) next++;
      let found: number | undefined;
      for (let page = lsn - (lsn % WAL_PAGE_SIZE); found === undefined; page -= WAL_PAGE_SIZE) {
        found = recordBoundaryAtOrBefore(await captureWalBytes(server, page, lsn + 1), page, lsn);
      }
      expect(found).toBe(ends[next]);
    }
  });
});

/** Goes on in the segment after the switch, with a record larger than several pages. */
async function workload2(server: TestPostgres): Promise<void> {
  await server.query("select pg_logical_emit_message(false, 'large', repeat('x', 3000000))");
  await server.query('create table after_switch as select generate_series(1, 1000) as n');
}
