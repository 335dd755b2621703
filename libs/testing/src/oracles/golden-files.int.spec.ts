import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import {
  dateFromPgMicros,
  decodeControlFile,
  decodeRelationMap,
  encodeControlFile,
  encodeRelationMap,
  pgMicrosFromDate,
  WalLevel,
} from '@coppice/postgres';
import { formatLsn } from '@coppice/vocabulary';
import { startPostgres, type TestPostgres } from '../servers/postgres';

/** `COPPICE_UPDATE_GOLDEN=1` writes what the unit tests read. */
const TESTDATA = join(__dirname, '../../../postgres/src/testdata');

describe('files of a real cluster', () => {
  let server: TestPostgres;
  beforeAll(async () => {
    server = await startPostgres();
    await server.query('create table t as select generate_series(1, 10); checkpoint');
  });
  afterAll(() => server.dispose());

  const golden = async (name: string, bytes: Buffer): Promise<void> => {
    if (process.env['COPPICE_UPDATE_GOLDEN'])
      await writeFile(join(TESTDATA, `${name}.gz`), gzipSync(bytes, { level: 9 }));
  };

  it('pg_control is read as PostgreSQL reads it, and written back byte by byte', async () => {
    const bytes = await readFile(join(server.dataDirectory, 'global/pg_control'));
    const control = decodeControlFile(bytes);
    expect(encodeControlFile(control)).toEqual(bytes);
    const [row] = await server.query(
      `select *, extract(epoch from checkpoint_time)::bigint::text as checkpoint_seconds, system_identifier::text as sysid
       from pg_control_system(), pg_control_checkpoint(), pg_control_recovery(), pg_control_init()`,
    );
    const { checkpoint, settings } = control;
    expect({
      sysid: String(control.systemIdentifier),
      catalog_version_no: control.catalogVersion,
      checkpoint_lsn: formatLsn(control.checkpointLsn),
      redo_lsn: formatLsn(checkpoint.redo),
      timeline_id: checkpoint.timelineNumber,
      prev_timeline_id: checkpoint.previousTimelineNumber,
      full_page_writes: checkpoint.fullPageWrites,
      next_xid: `${checkpoint.nextXid >> 32n}:${checkpoint.nextXid & 0xffffffffn}`,
      next_oid: String(checkpoint.nextOid),
      next_multixact_id: String(checkpoint.nextMulti),
      next_multi_offset: String(checkpoint.nextMultiOffset),
      oldest_xid: String(checkpoint.oldestXid),
      oldest_xid_dbid: String(checkpoint.oldestXidDb),
      oldest_active_xid: String(checkpoint.oldestActiveXid),
      oldest_multi_xid: String(checkpoint.oldestMulti),
      oldest_multi_dbid: String(checkpoint.oldestMultiDb),
      oldest_commit_ts_xid: String(checkpoint.oldestCommitTsXid),
      newest_commit_ts_xid: String(checkpoint.newestCommitTsXid),
      checkpoint_seconds: String(checkpoint.time),
      min_recovery_end_lsn: formatLsn(control.minRecoveryPoint),
      end_of_backup_record_required: control.backupEndRequired,
      data_page_checksum_version: control.dataChecksumVersion,
    }).toEqual(Object.fromEntries(Object.entries(stringified(row!)).filter(([name]) => COMPARED.has(name))));
    expect(checkpoint.walLevel).toBe(WalLevel.logical);
    expect(settings).toMatchObject({ walLevel: WalLevel.logical, maxConnections: 40, maxPreparedXacts: 10 });
    await golden('pg_control', bytes);
  });

  it('pg_filenode.map is read and written back byte by byte', async () => {
    const bytes = await readFile(join(server.dataDirectory, 'global/pg_filenode.map'));
    const mappings = decodeRelationMap(bytes);
    expect(encodeRelationMap(mappings)).toEqual(bytes);
    const rows = await server.query<{ oid: string; file: string }>(
      `select oid::text, pg_relation_filenode(oid)::text as file from pg_class where relfilenode = 0 and relisshared and relkind <> 'v'`,
    );
    const sorted = (list: string[]): string[] => list.sort();
    expect(sorted(mappings.map((m) => `${m.catalog} ${m.fileNumber}`))).toEqual(
      sorted(rows.map((r) => `${r.oid} ${r.file}`)),
    );
    await golden('pg_filenode.map', bytes);
  });

  it('timestamps count from 2000', async () => {
    const [row] = await server.query<{ at: Date; micros: string }>(
      `select at, (extract(epoch from at - timestamptz '2000-01-01 00:00:00Z') * 1000000)::bigint::text as micros
       from (values (timestamptz '2026-11-23 04:05:06.789Z')) v(at)`,
    );
    expect(pgMicrosFromDate(row!.at)).toBe(BigInt(row!.micros));
    expect(dateFromPgMicros(BigInt(row!.micros))).toEqual(row!.at);
  });
});

const COMPARED = new Set(
  `sysid catalog_version_no checkpoint_lsn redo_lsn timeline_id prev_timeline_id full_page_writes next_xid next_oid
   next_multixact_id next_multi_offset oldest_xid oldest_xid_dbid oldest_active_xid oldest_multi_xid oldest_multi_dbid
   oldest_commit_ts_xid newest_commit_ts_xid checkpoint_seconds min_recovery_end_lsn end_of_backup_record_required
   data_page_checksum_version`.split(/\s+/),
);

/** OIDs and transaction ids arrive as numbers or text depending on their type; both sides are compared as text. */
function stringified(row: Record<string, unknown>): Record<string, unknown> {
  const ids = /xid|oid|multi|dbid/;
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      ids.test(name) && name !== 'sysid' ? String(value) : value,
    ]),
  );
}
