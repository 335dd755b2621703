import { chown, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  decodeControlFile,
  encodeControlFile,
  Rmgr,
  type ShutdownCheckpoint,
  shutDownControlFile,
  shutdownCheckpointRecord,
  WAL_PAGE_SIZE,
  WAL_SEGMENT_SIZE,
  type WalRecord,
  WalStreamDecoder,
  XlogInfo,
} from '@coppice/postgres';
import { preparePostgres, type TestPostgres } from '../servers/postgres';
import { serverUser } from '../servers/server-user';
import { captureWalBytes } from './capture-wal';

/** A segment well behind what initdb wrote, so that no page is newer than S. */
const SEGMENT = 8 * WAL_SEGMENT_SIZE;
const RECORD = 24 + 2 + 88;

describe('stock PostgreSQL starts where we say that it was shut down', () => {
  it.each([
    ['in the middle of a page', SEGMENT + 5 * WAL_PAGE_SIZE + 0x1238],
    ['in the first page of a segment', SEGMENT + 0x400],
    ['right behind a long page header', SEGMENT + 40],
    ['right behind a short page header', SEGMENT + WAL_PAGE_SIZE + 24],
    ['on a page boundary', SEGMENT + 3 * WAL_PAGE_SIZE],
    ['on a segment boundary', SEGMENT],
    ['8 bytes before a page ends', SEGMENT + 7 * WAL_PAGE_SIZE - 8],
    ['a record header before a page ends', SEGMENT + 7 * WAL_PAGE_SIZE - 24],
    ['exactly a record before a page ends', SEGMENT + 7 * WAL_PAGE_SIZE - 120],
    ['8 bytes less than a record before a page ends', SEGMENT + 7 * WAL_PAGE_SIZE - 112],
    ['8 bytes before a segment ends', SEGMENT - 8],
    ['in the last page of a segment', SEGMENT - 64],
    ['exactly a record before a segment ends', SEGMENT - 120],
    ['above 4 GiB', 0x1_2345_6000 + 0x128],
  ])('%s', async (_where, at) => {
    const server = await preparePostgres({ settings: { autovacuum: false } });
    try {
      const start = await moveTo(server, at, undefined);
      await server.start();
      await server.query(
        'create table t as select i, repeat(md5(i::text), 20) from generate_series(1, 500) i',
      );
      await server.query('insert into t values (0)');
      expect(await server.query('select count(*)::int as n from t')).toEqual([{ n: 501 }]);
      expect(await server.log()).not.toMatch(/not properly shut down|redo|invalid|WARNING|ERROR|FATAL|PANIC/);
      await server.stop();

      const first = await walOfThisRun(server, at, start);

      // And again, from where that run ended, this time with the previous record known.
      await moveTo(server, first.at(-1)!.endLsn, first.at(-1)!.lsn);
      await server.start();
      await server.query('insert into t values (-1)');
      expect(await server.query('select count(*)::int as n from t')).toEqual([{ n: 502 }]);
      await server.stop();
      const control = decodeControlFile(await readFile(controlPath(server)));
      const decoder = new WalStreamDecoder(first.at(-1)!.endLsn, { zeros: 'end' });
      const second: WalRecord[] = [];
      const bytes = await captureWalBytes(server, decoder.position, control.checkpointLsn + RECORD + 100);
      decoder.push(bytes, (record) => second.push(record));
      expect(second[0]!.prev).toBe(first.at(-1)!.lsn);
      expect(second.at(-1)!.lsn).toBe(control.checkpointLsn);
    } finally {
      await server.dispose();
    }
  });
});

/** Makes the stopped server's directory one that was shut down at `at`, with no other WAL. */
async function moveTo(
  server: TestPostgres,
  at: number,
  previous: number | undefined,
): Promise<ShutdownCheckpoint> {
  const control = decodeControlFile(await readFile(controlPath(server)));
  const start = shutdownCheckpointRecord({
    at,
    previous,
    checkpoint: control.checkpoint,
    systemIdentifier: control.systemIdentifier,
  });
  const walDirectory = join(server.dataDirectory, 'pg_wal');
  for (const name of await readdir(walDirectory)) {
    if (/^[0-9A-F]{24}$/.test(name)) await rm(join(walDirectory, name));
  }
  for (const segment of start.segments) {
    const path = join(walDirectory, segment.name);
    const file = await open(path, 'w', 0o600);
    await file.truncate(segment.size);
    for (const { offset, bytes } of segment.pieces) await file.write(bytes, 0, bytes.length, offset);
    await file.close();
    if (serverUser) await chown(path, serverUser.uid, serverUser.gid);
  }
  const moved = shutDownControlFile({
    systemIdentifier: control.systemIdentifier,
    checkpoint: start.checkpoint,
    settings: control.settings,
    nonce: control.nonce,
  });
  await writeFile(controlPath(server), encodeControlFile(moved));
  return start;
}

/** Every record from S to the run's own shutdown checkpoint; the first is ours. */
async function walOfThisRun(
  server: TestPostgres,
  at: number,
  start: ShutdownCheckpoint,
): Promise<WalRecord[]> {
  const control = decodeControlFile(await readFile(controlPath(server)));
  const bytes = await captureWalBytes(server, at, control.checkpointLsn + RECORD + 100);
  expect(bytes.subarray(0, start.bytes.length)).toEqual(start.bytes);
  const records: WalRecord[] = [];
  const decoder = new WalStreamDecoder(at, { systemIdentifier: control.systemIdentifier, zeros: 'end' });
  decoder.push(bytes, (record) => records.push(record));
  expect(records[0]).toMatchObject({
    lsn: start.startLsn,
    endLsn: start.endLsn,
    rmgr: Rmgr.xlog,
    info: XlogInfo.checkpointShutdown,
  });
  expect(records[1]!.prev).toBe(start.startLsn);
  expect(records.length).toBeGreaterThan(500);
  expect(records.at(-1)).toMatchObject({
    lsn: control.checkpointLsn,
    rmgr: Rmgr.xlog,
    info: XlogInfo.checkpointShutdown,
  });
  return records;
}

function controlPath(server: TestPostgres): string {
  return join(server.dataDirectory, 'global', 'pg_control');
}
