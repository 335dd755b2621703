import { crc32c } from '@coppice/bytes';
import { Fork, lsn } from '@coppice/vocabulary';
import type { ComputeImage } from './compute-image';
import { collectImage } from './compute-image';
import { layoutOf } from './layout';

const EMPTY: ComputeImage = {
  lsn: lsn(0x2000028n),
  previousRecordLsn: undefined,
  systemIdentifier: 7n,
  checkpoint: {
    nextFullXid: 700n, nextOid: 20000, nextMulti: 1, nextMultiOffset: 0, oldestXid: 700, oldestXidDatabase: 1, oldestMulti: 1, oldestMultiDatabase: 1,
    oldestCommitTsXid: 0, newestCommitTsXid: 0,
  },
  logicalBlocks: 0, logicalIsEstimate: false, databases: [], relations: [], initForks: [], slruSegments: [], files: [], origins: [], warmPages: [],
};
const relation = { tablespace: 1663, database: 5, relation: 16384, fork: Fork.main };

describe('layout', () => {
  it('has a directory, a version and a map for each database, and only a map in global', () => {
    const map = Buffer.from('map');
    const layout = layoutOf({ ...EMPTY, databases: [{ tablespace: 1663, database: 5, relationMap: map }, { tablespace: 1664, database: 0, relationMap: map }] });
    expect(layout.directories).toEqual(expect.arrayContaining(['base', 'base/5', 'global', 'pg_wal']));
    expect([...layout.files.keys()].sort()).toEqual(['PG_VERSION', 'base/5/PG_VERSION', 'base/5/pg_filenode.map', 'global/pg_filenode.map']);
  });

  it('cuts a large relation into files of 1 GiB, and an empty one is one empty file', () => {
    const layout = layoutOf({ ...EMPTY, relations: [{ ...relation, blocks: 131072 * 2 + 3 }, { ...relation, relation: 16385, fork: Fork.vm, blocks: 0 }] });
    expect([...layout.sparse]).toEqual([
      ['base/5/16384', 2 ** 30],
      ['base/5/16384.1', 2 ** 30],
      ['base/5/16384.2', 3 * 8192],
      ['base/5/16385_vm', 0],
    ]);
  });

  it('lays an unlogged relation out whole, as a copy of its init fork, without its other forks', () => {
    const pages = Buffer.alloc(8192, 1);
    const layout = layoutOf({
      ...EMPTY,
      relations: [{ ...relation, blocks: 9 }, { ...relation, fork: Fork.fsm, blocks: 3 }, { ...relation, fork: Fork.init, blocks: 1 }],
      initForks: [{ tablespace: 1663, database: 5, relation: 16384, pages }],
    });
    expect([...layout.sparse]).toEqual([]);
    for (const path of ['base/5/16384_init', 'base/5/16384']) expect(layout.files.get(path)).toBe(pages);
  });

  it('names slru segments as PostgreSQL does', () => {
    const layout = layoutOf({ ...EMPTY, slruSegments: [{ slru: 0, segment: 0, pages: 1 }, { slru: 2, segment: 0x1abcd, pages: 32 }] });
    expect([...layout.sparse]).toEqual([['pg_xact/0000', 8192], ['pg_multixact/members/1ABCD', 32 * 8192]]);
  });

  it('writes replication origins with PostgreSQL’s checksum', () => {
    const file = layoutOf({ ...EMPTY, origins: [{ originId: 3, remoteLsn: lsn(0x10n) }] }).files.get('pg_logical/replorigin_checkpoint')!;
    expect(file.length).toBe(24);
    expect(file.readUInt32LE(0)).toBe(0x1257dade);
    expect(file.readUInt32LE(20)).toBe(crc32c(file.subarray(0, 20)));
  });

  it.each(['../../etc/passwd', 'pg_stat/../../x', '/etc/passwd', 'base/5/16384', 'postgresql.conf', 'pg_replslot/A/state', 'pg_stat/', 'pg_stat/.x', 'pg_wal/x'])(
    'refuses the carried file %s, which comes out of a tenant’s wal',
    (path) => expect(() => layoutOf({ ...EMPTY, files: [{ path, content: Buffer.alloc(0) }] })).toThrow(/cannot lay out/),
  );

  it('makes the directory of a replication slot that is carried', () => {
    const layout = layoutOf({ ...EMPTY, files: [{ path: 'pg_replslot/my_slot/state', content: Buffer.from('s') }] });
    expect(layout.directories).toContain('pg_replslot/my_slot');
  });
});

describe('compute image', () => {
  it('of another position than the elected one is refused', async () => {
    const header = { kind: 'header', value: { lsn: lsn(16n), systemIdentifier: 7n, checkpoint: EMPTY.checkpoint, previousRecordLsn: undefined, logicalBlocks: 0, logicalIsEstimate: false } } as const;
    await expect(collectImage([header], lsn(24n))).rejects.toMatchObject({ code: 'image-at-other-lsn' });
    await expect(collectImage([], lsn(24n))).rejects.toMatchObject({ code: 'bad-compute-image' });
  });
});
