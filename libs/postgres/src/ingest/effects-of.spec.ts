import { Fork, Slru } from '@coppice/vocabulary';
import type { RelationFork } from '@coppice/vocabulary';
import { CorruptWal, UnsupportedWal } from '../wal/corrupt-wal';
import { Rmgr, XlogInfo } from '../wal/rmgr';
import { NO_EFFECTS } from './effects';
import type { Effect } from './effects';
import { effectsOf } from './effects-of';
import { bytesOf, makeRecord } from './testing/make-record';

const heap: RelationFork = { tablespace: 1663, database: 5, relation: 16384, fork: Fork.main };

describe('files and databases', () => {
  const only = (rmgr: number, info: number, mainData: Buffer): readonly Effect[] =>
    effectsOf(makeRecord({ rmgr, info, mainData }));

  it('a fork is created, also an init fork', () => {
    const mainData = bytesOf((w) => w.u32le(1663).u32le(5).u32le(16384).i32le(3));
    expect(only(Rmgr.smgr, 0x10, mainData)).toEqual([
      { kind: 'create-fork', fork: { ...heap, fork: Fork.init } },
    ]);
  });

  it('a truncation says which forks', () => {
    const mainData = bytesOf((w) => w.u32le(10).u32le(1663).u32le(5).u32le(16384).i32le(5));
    const file = { tablespace: 1663, database: 5, relation: 16384 };
    expect(only(Rmgr.smgr, 0x20, mainData)).toEqual([
      { kind: 'truncate', file, blocks: 10, forks: { main: true, visibilityMap: false, freeSpaceMap: true } },
    ]);
  });

  it('databases are copied, created and dropped', () => {
    expect(
      only(
        Rmgr.dbase,
        0x00,
        bytesOf((w) => w.u32le(90).u32le(1663).u32le(1).u32le(1663)),
      ),
    ).toEqual([
      {
        kind: 'copy-database',
        from: { database: 1, tablespace: 1663 },
        to: { database: 90, tablespace: 1663 },
      },
    ]);
    expect(
      only(
        Rmgr.dbase,
        0x10,
        bytesOf((w) => w.u32le(90).u32le(1663)),
      ),
    ).toEqual([{ kind: 'create-database', place: { database: 90, tablespace: 1663 } }]);
    expect(
      only(
        Rmgr.dbase,
        0x20,
        bytesOf((w) => w.u32le(90).i32le(2).u32le(1663).u32le(20000)),
      ),
    ).toEqual([
      {
        kind: 'drop-database',
        places: [
          { database: 90, tablespace: 1663 },
          { database: 90, tablespace: 20000 },
        ],
      },
    ]);
  });

  it('a relation map is replaced whole and must be of the right size', () => {
    const map = Buffer.alloc(524, 7);
    expect(
      only(
        Rmgr.relmap,
        0x00,
        bytesOf((w) => w.u32le(5).u32le(1663).i32le(524).raw(map)),
      ),
    ).toEqual([{ kind: 'relation-map', place: { tablespace: 1663, database: 5 }, map }]);
    expect(() =>
      only(
        Rmgr.relmap,
        0x00,
        bytesOf((w) => w.u32le(5).u32le(1663).i32le(512).raw(map)),
      ),
    ).toThrow(CorruptWal);
  });

  it('pages of pg_xact are made and removed', () => {
    expect(
      only(
        Rmgr.clog,
        0x00,
        bytesOf((w) => w.i64le(4n)),
      ),
    ).toEqual([{ kind: 'zero-slru-page', slru: Slru.xact, page: 4, unlessThere: false }]);
    expect(
      only(
        Rmgr.clog,
        0x10,
        bytesOf((w) => w.i64le(40n).u32le(1_400_000).u32le(5)),
      ),
    ).toEqual([{ kind: 'truncate-slru', slru: Slru.xact, cutoffPage: 40 }]);
    expect(() =>
      only(
        Rmgr.clog,
        0x00,
        bytesOf((w) => w.i64le(-1n)),
      ),
    ).toThrow(CorruptWal);
    expect(() =>
      only(
        Rmgr.clog,
        0x00,
        bytesOf((w) => w.i64le(131072n)),
      ),
    ).toThrow(CorruptWal);
  });

  it('progress of origins is set, also backwards, and dropped', () => {
    expect(
      only(
        Rmgr.replorigin,
        0x00,
        bytesOf((w) => w.u64le(5n).u16le(2).u8(1).zeros(5)),
      ),
    ).toEqual([{ kind: 'advance-origin', origin: 2, remoteLsn: 5n, backward: true }]);
    expect(
      only(
        Rmgr.replorigin,
        0x10,
        bytesOf((w) => w.u16le(2)),
      ),
    ).toEqual([{ kind: 'drop-origin', origin: 2 }]);
  });
});

describe('logical messages', () => {
  const message = (prefix: string, content: string): readonly Effect[] => {
    const name = Buffer.from(`${prefix}\0`);
    const mainData = bytesOf((w) =>
      w
        .u32le(5)
        .u8(0)
        .zeros(3)
        .u64le(BigInt(name.length))
        .u64le(BigInt(content.length))
        .raw(name)
        .raw(Buffer.from(content)),
    );
    return effectsOf(makeRecord({ rmgr: Rmgr.logicalmsg, info: 0, mainData }));
  };

  it('carry a file', () => {
    expect(message('coppice:file:pg_replslot/a_slot/state', 'x')).toEqual([
      { kind: 'put-file', path: 'pg_replslot/a_slot/state', content: Buffer.from('x') },
    ]);
  });

  it('of other programs, and of paths that no compute carries, are nothing', () => {
    const foreign = [
      'other',
      'coppice:file:postgresql.auto.conf',
      'coppice:file:pg_replslot/../global/pg_control',
      'coppice:file:/etc/passwd',
      'coppice:file:',
    ];
    for (const prefix of foreign) expect(message(prefix, 'x')).toBe(NO_EFFECTS);
  });
});

describe('what nobody here knows', () => {
  it.each([
    ['an extension with a resource manager of its own', 128, 0],
    ['an unknown resource manager', 40, 0],
    ['a tablespace', Rmgr.tblspc, 0x00],
    ['commit timestamps', Rmgr.commitTs, 0x00],
    ['an unknown record of the log', Rmgr.xlog, 0xc0],
    ['an unknown transaction record', Rmgr.xact, 0x70],
    ['an unknown multixact record', Rmgr.multixact, 0x70],
  ])('stops ingest: %s', (_, rmgr, info) => {
    expect(() => effectsOf(makeRecord({ rmgr, info, mainData: Buffer.alloc(16) }))).toThrow(UnsupportedWal);
  });

  it('every known record of the log is nothing beyond the checkpoint state', () => {
    for (const info of Object.values(XlogInfo))
      expect(effectsOf(makeRecord({ rmgr: Rmgr.xlog, info }))).toBe(NO_EFFECTS);
  });
});
