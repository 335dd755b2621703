/** A relation of more than one 1 GiB segment. Takes minutes and 4 GB of disk, so only the full run has it. */
import { FULL, startPostgres, type TestPostgres } from '@coppice/testing';
import { soundness } from './mixed-data.fixture';
import { buildInterposer, SparseCluster } from './sparse-cluster.fixture';

const ROWS = 140_000;
const BLOCKS_BELOW = 131_000;
const describeFull = FULL ? describe : describe.skip;

describeFull('a relation of two segments', () => {
  let origin: TestPostgres;
  let cluster: SparseCluster;

  beforeAll(async () => {
    const library = await buildInterposer();
    origin = await startPostgres({
      settings: { autovacuum: false, wal_level: 'minimal', max_wal_senders: 0 },
    });
    await origin.query(`create extension amcheck; create table wide (id int primary key, filler text);
      alter table wide alter filler set storage plain`);
    await origin.query(`insert into wide select i, repeat('w', 7000) from generate_series(1, ${ROWS}) i`);
    await origin.query('vacuum freeze wide');
    await origin.stop();
    cluster = await SparseCluster.start(origin, { library, settings: { autovacuum: false } });
  }, 300_000);
  afterAll(async () => {
    await cluster?.dispose();
    await origin?.dispose();
  });

  const sql = (text: string): Promise<Record<string, unknown>[]> => cluster.server.query(text);

  it('is read in its second segment without the first', async () => {
    expect(await sql(`select length(filler) as n from wide where id = ${ROWS}`)).toEqual([{ n: 7000 }]);
    expect(cluster.fetchedBlocks).toBeLessThan(500);
  });

  it('is cut back into its first segment and grows into the second again', async () => {
    await sql(`delete from wide where id > ${BLOCKS_BELOW}`);
    await sql('vacuum wide');
    expect(await sql(`select pg_relation_size('wide') / 8192 <= ${BLOCKS_BELOW} as cut`)).toEqual([
      { cut: true },
    ]);
    await sql(
      `insert into wide select i, repeat('n', 7000) from generate_series(${BLOCKS_BELOW + 1}, ${ROWS}) i`,
    );
    const [sums] = await sql(
      `select count(*)::int as n, sum(id)::text as ids, sum((filler like 'n%')::int)::int as fresh from wide`,
    );
    expect(sums).toEqual({ n: ROWS, ids: String((ROWS * (ROWS + 1)) / 2), fresh: ROWS - BLOCKS_BELOW });
    expect(await soundness(cluster.server)).toEqual([]);
  }, 300_000);
});
