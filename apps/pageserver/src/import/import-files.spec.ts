import {
  DatabaseState,
  decodeCheckpointState,
  decodeRelationSize,
  decodeSlruSegmentSize,
  encodeControlFile,
  shutDownControlFile,
} from '@coppice/postgres';
import type { ControlFile } from '@coppice/postgres';
import {
  BLOCK_SIZE,
  CHECKPOINT_KEY,
  Fork,
  Slru,
  databaseKey,
  relationBlockKey,
  relationMapKey,
  relationSizeKey,
  replicationOriginKey,
  slruPageKey,
  slruSegmentSizeKey,
  twoPhaseKey,
} from '@coppice/vocabulary';
import type { PageKey, RelationFork } from '@coppice/vocabulary';
import { importFiles } from './import-files';
import type { FileChunk } from './import-files';

const REDO = 0x1500028;
const TABLE: RelationFork = { tablespace: 1663, database: 5, relation: 1259, fork: Fork.main };

function controlFile(changes: Partial<ControlFile> = {}): FileChunk {
  const checkpoint = {
    redo: REDO,
    timelineNumber: 1,
    previousTimelineNumber: 1,
    fullPageWrites: true,
    walLevel: 1,
    nextXid: 750n,
    nextOid: 13000,
    nextMulti: 1,
    nextMultiOffset: 0,
    oldestXid: 722,
    oldestXidDb: 1,
    oldestMulti: 1,
    oldestMultiDb: 1,
    time: 1_760_000_000n,
    oldestCommitTsXid: 0,
    newestCommitTsXid: 0,
    oldestActiveXid: 0,
  };
  const settings = {
    walLevel: 1,
    walLogHints: false,
    maxConnections: 100,
    maxWorkerProcesses: 8,
    maxWalSenders: 10,
    maxPreparedXacts: 0,
    maxLocksPerXact: 64,
    trackCommitTimestamp: false,
  };
  const control = shutDownControlFile({
    systemIdentifier: 42n,
    checkpoint,
    settings,
    nonce: Buffer.alloc(32),
  });
  return { path: 'global/pg_control', content: encodeControlFile({ ...control, ...changes }) };
}

const page = (fill: number): Buffer => Buffer.alloc(BLOCK_SIZE, fill);
const file = (path: string, content: Buffer | string = ''): FileChunk => ({
  path,
  content: Buffer.from(content),
});

async function imported(...files: FileChunk[]): Promise<ReadonlyMap<PageKey, Buffer>> {
  return new Map((await importFiles([controlFile(), ...files])).entries);
}

describe('an imported cluster', () => {
  it('is at the end of its shutdown checkpoint and starts from its counters', async () => {
    const cluster = await importFiles([controlFile()]);
    expect(cluster).toMatchObject({ lsn: REDO + 120, lastRecordLsn: REDO, systemIdentifier: 42n });
    const state = decodeCheckpointState(new Map(cluster.entries).get(CHECKPOINT_KEY)!);
    expect(state).toMatchObject({
      nextXid: 750,
      nextOid: 13000,
      recordLsn: REDO,
      recordEndLsn: REDO + 120,
      systemIdentifier: 42n,
    });
  });

  it('has the pages of relations with their sizes, and leaves out zeros', async () => {
    const entries = await imported(file('base/5/1259', Buffer.concat([page(1), page(0), page(3)])));
    expect(decodeRelationSize(entries.get(relationSizeKey(TABLE))!)).toBe(3);
    expect([0, 1, 2].map((block) => entries.get(relationBlockKey(TABLE, block))?.[0])).toEqual([
      1,
      undefined,
      3,
    ]);
  });

  it('joins chunks, also across page boundaries, and forks and segments', async () => {
    const whole = Buffer.concat([page(1), page(2)]);
    const entries = await imported(
      file('base/5/1259.1', page(7)),
      { path: 'base/5/1259', content: whole.subarray(0, 5000) },
      file('base/5/1259_vm', page(9)),
      { path: 'base/5/1259', content: whole.subarray(5000) },
    );
    expect(decodeRelationSize(entries.get(relationSizeKey(TABLE))!)).toBe(131073);
    expect([0, 1, 131072].map((block) => entries.get(relationBlockKey(TABLE, block))?.[100])).toEqual([
      1, 2, 7,
    ]);
    expect(entries.get(relationBlockKey({ ...TABLE, fork: Fork.vm }, 0))?.[0]).toBe(9);
  });

  it('has SLRUs, maps, databases, prepared transactions and origins', async () => {
    const origins = Buffer.alloc(4 + 16 + 4);
    origins.writeUInt32LE(0x1257dade, 0);
    origins.writeUInt16LE(3, 4);
    origins.writeBigUInt64LE(99n, 12);
    const entries = await imported(
      file('pg_xact/0001', Buffer.concat([page(5), page(6)])),
      file('base/5/PG_VERSION', '17\n'),
      file('base/5/pg_filenode.map', Buffer.alloc(524, 1)),
      file('global/pg_filenode.map', Buffer.alloc(524, 2)),
      file('pg_twophase/00000002000002EF', 'statecrc!'),
      file('pg_logical/replorigin_checkpoint', origins),
    );
    expect(decodeSlruSegmentSize(entries.get(slruSegmentSizeKey(Slru.xact, 1))!)).toBe(2);
    expect(entries.get(slruPageKey(Slru.xact, 33))?.[0]).toBe(6);
    expect([databaseKey(1663, 5), databaseKey(1664, 0)].every((key) => entries.has(key))).toBe(true);
    expect(entries.get(relationMapKey(1663, 5))?.[0]).toBe(1);
    expect(entries.get(relationMapKey(1664, 0))?.[0]).toBe(2);
    expect(entries.get(twoPhaseKey(0x2_0000_02efn))?.toString()).toBe('state');
    expect(entries.get(replicationOriginKey(3))?.readBigUInt64LE()).toBe(99n);
  });

  it('keeps only the init fork of an unlogged relation', async () => {
    const entries = await imported(file('base/5/1259', page(1)), file('base/5/1259_init', page(2)));
    expect(entries.has(relationSizeKey(TABLE))).toBe(false);
    expect(entries.has(relationBlockKey(TABLE, 0))).toBe(false);
    expect(entries.has(relationBlockKey({ ...TABLE, fork: Fork.init }, 0))).toBe(true);
  });

  it('counts the blocks of main forks', async () => {
    const { logicalBlocks } = await importFiles([
      controlFile(),
      file('base/5/1', Buffer.alloc(BLOCK_SIZE * 3)),
      file('base/5/1_fsm', page(1)),
    ]);
    expect(logicalBlocks).toBe(3);
  });

  it('has its keys in ascending order', async () => {
    const { entries } = await importFiles([
      file('pg_xact/0000', page(1)),
      file('base/9/1', page(1)),
      file('base/5/2', page(1)),
      controlFile(),
    ]);
    const keys = entries.map(([key]) => key);
    expect(keys).toEqual([...keys].sort());
  });

  it.each([
    'pg_wal/000000010000000000000001',
    'pg_subtrans/0000',
    'postgresql.conf',
    'base/5/pg_internal.init',
    'base/5/t3_16400',
    'pg_stat/pgstat.stat',
  ])('leaves out %s', async (path) => {
    expect((await imported(file(path, 'anything'))).size).toBe(2);
  });
});

describe('files that cannot be imported', () => {
  const refused = (...files: FileChunk[]): Promise<unknown> =>
    importFiles(files).then(
      () => 'imported',
      (error: Error) => error.message,
    );

  it.each([
    [
      'a server that was not shut down',
      [controlFile({ state: DatabaseState.inProduction })],
      'not shut down cleanly',
    ],
    ['pages with checksums', [controlFile({ dataChecksumVersion: 1 })], 'checksums'],
    ['no control file', [file('PG_VERSION', '17')], 'pg_control is missing'],
    ['another major version', [file('PG_VERSION', '16')], 'PostgreSQL 16'],
    ['a second tablespace', [file('pg_tblspc/16400/PG_17_202406281/5/1', page(1))], 'one tablespace'],
    ['half a page', [file('base/5/1', 'half')], 'whole pages'],
    ['a damaged control file', [file('global/pg_control', Buffer.alloc(8192))], 'pg_control cannot be used'],
  ])('%s', async (_, files, message) => {
    await expect(refused(...files)).resolves.toContain(message);
  });
});
