import { neverExercised } from './exercised';
import { describeResult, runPageOracle } from './page-oracle';
import { REDO_WORKLOADS, allRedoWorkloads } from './redo-workloads';

jest.setTimeout(240_000);

describe('redo, over the whole WAL of a real server', () => {
  it('makes every page of every record as PostgreSQL made it', async () => {
    const result = await runPageOracle({ workload: allRedoWorkloads });
    expect(result.replay.mismatches.map((m) => m.description)).toEqual([]);
    expect(result.files.differences).toEqual([]);
    expect(result.files.pages).toBeGreaterThan(2000);
    expect(neverExercised(result.replay, 'routines')).toEqual([]);
  });

  it('does so between full-page images, compressed, and with hint bits logged', async () => {
    const result = await runPageOracle({
      settings: { full_page_writes: true, wal_log_hints: true, wal_compression: 'pglz' },
      workload: async (server) => {
        await REDO_WORKLOADS.locks!(server);
        await server.query('checkpoint');
        await server.query('select count(*) from l');
        await REDO_WORKLOADS.many!(server);
        await server.query('checkpoint');
        await server.query('update c set id = id + 1 where id % 3 = 0');
        await server.query('vacuum c');
      },
    });
    expect(result.replay.mismatches.map((m) => m.description)).toEqual([]);
    expect(result.files.differences).toEqual([]);
    expect(describeResult(result)).toMatch(/^XLOG 0xa0 .*restored [1-9]/m);
  });
});
