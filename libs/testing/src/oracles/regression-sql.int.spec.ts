import { describeResult } from './page-oracle';
import { compareRedoOnRegressionSql } from './regression-workload';

jest.setTimeout(30 * 60_000);

/** `./coppice test --full --pg-src DIR` names a PostgreSQL source tree of the server's own minor version. */
const sourceTree = process.env['COPPICE_TEST_PG_SRC'];
/** Crash a 17.10 server when they come from a later minor's tree. */
const NEWER_THAN_THE_SERVER = ['sqljson', 'hash_part'];

(sourceTree ? describe : describe.skip)("redo, over the WAL of PostgreSQL's regression SQL", () => {
  it('makes every page of every record as PostgreSQL made it', async () => {
    const result = await compareRedoOnRegressionSql({
      sourceTree: sourceTree!,
      without: NEWER_THAN_THE_SERVER,
    });
    console.log(describeResult(result));
    expect(result.replay.mismatches.map((m) => m.description)).toEqual([]);
    expect(result.files.differences).toEqual([]);
    expect(result.files.pages).toBeGreaterThan(5000);
  });
});
