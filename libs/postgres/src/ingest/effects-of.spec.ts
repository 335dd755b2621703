import { Fork, Slru } from '@coppice/vocabulary';
import type { RelationFork } from '@coppice/vocabulary';
import { decodeSmallRecord } from '../redo/small-records';
import { TransactionStatus } from '../redo/slru-layout';
import { HEAP_BLOCKS_PER_VM_PAGE, VM_ALL_BITS, VM_ALL_FROZEN } from '../redo/visibility-map';
import { CorruptWal, UnsupportedWal } from '../wal/corrupt-wal';
import { Heap2Info, HeapInfo, Rmgr, XactInfo, XlogInfo } from '../wal/rmgr';
import { NO_EFFECTS } from './effects';
import type { Effect } from './effects';
import { effectsOf } from './effects-of';
import { bytesOf, makeBlock, makeRecord } from './testing/make-record';

const heap: RelationFork = { tablespace: 1663, database: 5, relation: 16384, fork: Fork.main };
const vm: RelationFork = { ...heap, fork: Fork.vm };
const insertData = (flags: number): Buffer => bytesOf((w) => w.u16le(1).u8(flags));
const lockData = (flags: number): Buffer => bytesOf((w) => w.u32le(700).u16le(1).u8(0).u8(flags));
const updateData = (flags: number): Buffer =>
  bytesOf((w) => w.u32le(700).u16le(1).u8(0).u8(flags).u32le(0).u16le(2));

function smallRecordsOf(effects: readonly Effect[]): unknown[] {
  return effects.map((effect) => ('value' in effect ? decodeSmallRecord(effect.value.bytes) : effect.kind));
}

describe('heap records', () => {
  it('that change no visibility bit share one empty list', () => {
    const insert = makeRecord({
      rmgr: Rmgr.heap,
      info: HeapInfo.insert,
      blocks: [makeBlock(0, heap, 3)],
      mainData: insertData(0),
    });
    expect(effectsOf(insert)).toBe(NO_EFFECTS);
    expect(effectsOf(makeRecord({ rmgr: Rmgr.btree, info: 0 }))).toBe(NO_EFFECTS);
    expect(effectsOf(makeRecord({ rmgr: Rmgr.seq, info: 0 }))).toBe(NO_EFFECTS);
    expect(effectsOf(makeRecord({ rmgr: Rmgr.heap2, info: Heap2Info.visible }))).toBe(NO_EFFECTS);
    expect(effectsOf(makeRecord({ rmgr: Rmgr.heap2, info: Heap2Info.pruneVacuumScan }))).toBe(NO_EFFECTS);
  });

  it.each([
    ['insert', Rmgr.heap, HeapInfo.insert, insertData(1), VM_ALL_BITS],
    ['delete', Rmgr.heap, HeapInfo.delete, lockData(1), VM_ALL_BITS],
    ['lock', Rmgr.heap, HeapInfo.lock, lockData(1), VM_ALL_FROZEN],
    ['multi insert', Rmgr.heap2, Heap2Info.multiInsert, bytesOf((w) => w.u8(1).u8(0).u16le(2)), VM_ALL_BITS],
    [
      'multi insert on a new page',
      Rmgr.heap2,
      Heap2Info.multiInsert | 0x80,
      bytesOf((w) => w.u8(1)),
      VM_ALL_BITS,
    ],
    ['lock of an updated row', Rmgr.heap2, Heap2Info.lockUpdated, lockData(1), VM_ALL_FROZEN],
  ])('%s clears the bits of its block in a map that it does not name', (_, rmgr, info, mainData, flags) => {
    const block = HEAP_BLOCKS_PER_VM_PAGE + 7;
    const effects = effectsOf(makeRecord({ rmgr, info, blocks: [makeBlock(0, heap, block)], mainData }));
    expect(effects).toMatchObject([{ kind: 'change-page', fork: vm, block: 1 }]);
    expect(smallRecordsOf(effects)).toEqual([
      { kind: 'clear-visibility', cleared: [{ heapBlock: block, flags }] },
    ]);
  });

  it('that name the visibility map leave it to redo', () => {
    const blocks = [makeBlock(0, heap, 7), makeBlock(1, vm, 0)];
    expect(
      effectsOf(makeRecord({ rmgr: Rmgr.heap, info: HeapInfo.insert, blocks, mainData: insertData(1) })),
    ).toEqual([]);
    const both = [makeBlock(0, heap, 7), makeBlock(1, heap, 8), makeBlock(2, vm, 0)];
    expect(
      effectsOf(
        makeRecord({ rmgr: Rmgr.heap, info: HeapInfo.update, blocks: both, mainData: updateData(3) }),
      ),
    ).toEqual([]);
  });

  it('an update clears old and new page in one change when one map page holds both', () => {
    const blocks = [makeBlock(0, heap, 9), makeBlock(1, heap, 4)];
    const effects = effectsOf(
      makeRecord({ rmgr: Rmgr.heap, info: HeapInfo.update, blocks, mainData: updateData(3) }),
    );
    const cleared = [4, 9].map((heapBlock) => ({ heapBlock, flags: VM_ALL_BITS }));
    expect(smallRecordsOf(effects)).toEqual([{ kind: 'clear-visibility', cleared }]);
  });

  it('an update clears two map pages when they are two', () => {
    const blocks = [makeBlock(0, heap, HEAP_BLOCKS_PER_VM_PAGE), makeBlock(1, heap, 4)];
    const effects = effectsOf(
      makeRecord({ rmgr: Rmgr.heap, info: HeapInfo.update, blocks, mainData: updateData(3) }),
    );
    expect(effects.map((effect) => 'block' in effect && effect.block)).toEqual([0, 1]);
  });

  it('an update within a page clears the old page, which is the new one', () => {
    for (const flags of [1, 3]) {
      const record = makeRecord({
        rmgr: Rmgr.heap,
        info: HeapInfo.hotUpdate,
        blocks: [makeBlock(0, heap, 9)],
        mainData: updateData(flags),
      });
      expect(smallRecordsOf(effectsOf(record))).toEqual([
        { kind: 'clear-visibility', cleared: [{ heapBlock: 9, flags: VM_ALL_BITS }] },
      ]);
    }
  });

  it('an update whose new page alone was all visible clears the new page', () => {
    const blocks = [makeBlock(0, heap, 9), makeBlock(1, heap, 4)];
    const effects = effectsOf(
      makeRecord({ rmgr: Rmgr.heap, info: HeapInfo.update, blocks, mainData: updateData(2) }),
    );
    expect(smallRecordsOf(effects)).toEqual([
      { kind: 'clear-visibility', cleared: [{ heapBlock: 9, flags: VM_ALL_BITS }] },
    ]);
  });

  it('a rewritten catalog leaves its mapping file for logical decoding', () => {
    const mappings = Buffer.alloc(72, 5);
    const mainData = bytesOf((w) =>
      w
        .u32le(0x2f1)
        .u32le(5)
        .u32le(0x4eb)
        .zeros(4)
        .u64le(36n)
        .u32le(2)
        .zeros(4)
        .u64le(0x1_0a00_0000n)
        .raw(mappings),
    );
    expect(
      effectsOf(makeRecord({ rmgr: Rmgr.heap2, info: Heap2Info.rewrite, xid: 0x300, mainData })),
    ).toEqual([
      {
        kind: 'append-file',
        path: 'pg_logical/mappings/map-5-4eb-1_A000000-2f1-300',
        offset: 36,
        content: mappings,
      },
    ]);
  });
});

describe('ends of transactions', () => {
  const time = 8_000_000_000_000_000n;
  const end = (info: number, mainData: Buffer, xid = 700, origin = 0): readonly Effect[] =>
    effectsOf(makeRecord({ rmgr: Rmgr.xact, info, xid, mainData, origin }));

  it('a plain commit sets its status and its time', () => {
    const effects = end(
      XactInfo.commit,
      bytesOf((w) => w.i64le(time)),
    );
    expect(effects).toMatchObject([
      { kind: 'change-slru-page', slru: Slru.xact, page: 0 },
      { kind: 'commit-time', micros: time },
    ]);
    expect(smallRecordsOf(effects)[0]).toEqual({
      kind: 'transaction-status',
      status: TransactionStatus.committed,
      xids: [700],
    });
  });

  it('an abort sets its status and no time', () => {
    const effects = end(
      XactInfo.abort,
      bytesOf((w) => w.i64le(time)),
    );
    expect(smallRecordsOf(effects)).toEqual([
      { kind: 'transaction-status', status: TransactionStatus.aborted, xids: [700] },
    ]);
  });

  it('every part of a commit is read past, whatever is in it', () => {
    const xinfo = 1 | 2 | 4 | 8 | 32 | 256;
    const mainData = bytesOf((w) =>
      w
        .i64le(time)
        .u32le(xinfo)
        .zeros(8)
        .i32le(2)
        .u32le(32767)
        .u32le(32768)
        .i32le(1)
        .u32le(1663)
        .u32le(5)
        .u32le(16400)
        .i32le(1)
        .zeros(12)
        .i32le(2)
        .zeros(32)
        .u64le(0x77n)
        .i64le(time),
    );
    const effects = end(XactInfo.commit | 0x80, mainData, 700, 3);
    expect(effects.map((effect) => effect.kind)).toEqual([
      'change-slru-page',
      'change-slru-page',
      'commit-time',
      'advance-origin',
      'drop-relations',
    ]);
    expect(smallRecordsOf(effects.slice(0, 2))).toEqual([
      { kind: 'transaction-status', status: TransactionStatus.committed, xids: [700, 32767] },
      { kind: 'transaction-status', status: TransactionStatus.committed, xids: [32768] },
    ]);
    expect(effects[3]).toEqual({ kind: 'advance-origin', origin: 3, remoteLsn: 0x77n, backward: false });
    expect(effects[4]).toEqual({
      kind: 'drop-relations',
      files: [{ tablespace: 1663, database: 5, relation: 16400 }],
    });
  });

  it('the end of a prepared transaction concerns the xid it names and ends its state', () => {
    const mainData = bytesOf((w) =>
      w
        .i64le(time)
        .u32le(16 | 128)
        .u32le(650)
        .cstring('name'),
    );
    const effects = end(XactInfo.commitPrepared | 0x80, mainData, 0);
    expect(smallRecordsOf(effects)[0]).toMatchObject({ xids: [650] });
    expect(effects.at(-1)).toEqual({ kind: 'end-prepared', xid: 650 });
    const rolledBack = end(XactInfo.abortPrepared | 0x80, mainData, 0);
    expect(rolledBack.at(-1)).toEqual({ kind: 'end-prepared', xid: 650 });
  });

  it('xid 0 has no status', () => {
    expect(
      end(
        XactInfo.commit,
        bytesOf((w) => w.i64le(time)),
        0,
      ),
    ).toEqual([{ kind: 'commit-time', micros: time }]);
  });

  it('progress of the origin that nobody tracks is not kept', () => {
    const mainData = bytesOf((w) => w.i64le(time).u32le(32).u64le(1n).i64le(time));
    expect(end(XactInfo.commit | 0x80, mainData, 700, 0xffff).map((effect) => effect.kind)).toEqual([
      'change-slru-page',
      'commit-time',
    ]);
  });

  it('preparing keeps the whole record as the state, and the progress of its origin', () => {
    const state = bytesOf((w) =>
      w
        .u32le(0x57f94534)
        .u32le(72 + 8 + 4)
        .u32le(701)
        .zeros(28)
        .i32le(0)
        .zeros(10)
        .u16le(5)
        .u64le(0x99n)
        .zeros(8 + 8),
    );
    expect(state).toHaveLength(80);
    expect(
      effectsOf(
        makeRecord({ rmgr: Rmgr.xact, info: XactInfo.prepare, xid: 701, mainData: state, origin: 2 }),
      ),
    ).toEqual([
      { kind: 'prepare-transaction', xid: 701, state },
      { kind: 'advance-origin', origin: 2, remoteLsn: 0x99n, backward: false },
    ]);
  });

  it('a state of another length than it says is corrupt', () => {
    const state = bytesOf((w) => w.u32le(0x57f94534).u32le(99).u32le(701).zeros(60));
    expect(() => effectsOf(makeRecord({ rmgr: Rmgr.xact, info: XactInfo.prepare, mainData: state }))).toThrow(
      CorruptWal,
    );
  });

  it('assignments and invalidations change nothing', () => {
    expect(end(XactInfo.assignment, Buffer.alloc(12))).toBe(NO_EFFECTS);
    expect(end(XactInfo.invalidations, Buffer.alloc(12))).toBe(NO_EFFECTS);
  });
});

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

describe('multixacts', () => {
  const create = (multixact: number, offset: number, xids: number[]): readonly Effect[] => {
    const mainData = bytesOf((w) => {
      w.u32le(multixact).u32le(offset).i32le(xids.length);
      for (const xid of xids) w.u32le(xid).i32le(1);
      return w;
    });
    return effectsOf(makeRecord({ rmgr: Rmgr.multixact, info: 0x20, mainData }));
  };

  it('write their own offset, the next one, and their members', () => {
    const effects = create(5, 20, [700, 701]);
    expect(smallRecordsOf(effects)).toEqual([
      {
        kind: 'multixact-offsets',
        offsets: [
          { multixact: 5, offset: 20 },
          { multixact: 6, offset: 22 },
        ],
      },
      {
        kind: 'multixact-members',
        members: [
          { offset: 20, xid: 700, status: 1 },
          { offset: 21, xid: 701, status: 1 },
        ],
      },
    ]);
  });

  it('at the end of an offsets page write to the next page', () => {
    expect(create(2047, 20, [700])).toMatchObject([
      { page: 0 },
      { page: 1 },
      { slru: Slru.multixactMembers },
    ]);
  });

  it('split their members over pages and wrap at the end of the members', () => {
    const pages = create(5, 1635, [700, 701]).slice(1);
    expect(pages).toMatchObject([
      { slru: Slru.multixactMembers, page: 0 },
      { slru: Slru.multixactMembers, page: 1 },
    ]);
    const wrapped = smallRecordsOf(create(5, 0xffffffff, [700, 701]));
    expect(wrapped[0]).toMatchObject({ offsets: [{ offset: 0xffffffff }, { offset: 1 }] });
    expect(wrapped.slice(1)).toMatchObject([
      { members: [{ offset: 0xffffffff }] },
      { members: [{ offset: 0 }] },
    ]);
  });

  it('never start at offset 0, and multixact 0 is skipped', () => {
    expect(smallRecordsOf(create(0xffffffff, 0xfffffffe, [700, 701]))).toMatchObject([
      { offsets: [{ multixact: 0xffffffff, offset: 0xfffffffe }] },
      { offsets: [{ multixact: 1, offset: 1 }] },
      {},
    ]);
  });

  it('pages are zeroed; one of offsets only if no multixact was written to it before', () => {
    const zero = (info: number): readonly Effect[] =>
      effectsOf(makeRecord({ rmgr: Rmgr.multixact, info, mainData: bytesOf((w) => w.i64le(3n)) }));
    expect(zero(0x00)).toEqual([
      { kind: 'zero-slru-page', slru: Slru.multixactOffsets, page: 3, unlessThere: true },
    ]);
    expect(zero(0x10)).toEqual([
      { kind: 'zero-slru-page', slru: Slru.multixactMembers, page: 3, unlessThere: false },
    ]);
  });

  it('truncation removes member segments by run and offset segments by age, one multixact back', () => {
    const mainData = bytesOf((w) =>
      w
        .u32le(5)
        .u32le(1)
        .u32le(2048)
        .u32le(0)
        .u32le(1636 * 32 * 3),
    );
    expect(effectsOf(makeRecord({ rmgr: Rmgr.multixact, info: 0x30, mainData }))).toEqual([
      { kind: 'remove-slru-segments', slru: Slru.multixactMembers, first: 0, end: 3 },
      { kind: 'truncate-slru', slru: Slru.multixactOffsets, cutoffPage: 0 },
    ]);
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
