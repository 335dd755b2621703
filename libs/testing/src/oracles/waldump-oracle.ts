/**
 * PostgreSQL's own reading of WAL (`pg_walinspect`) against ours, record by record and block by block, over everything
 * between two positions of a live server. Block images are compared as restored pages.
 */
import {
  type BlockReference,
  imageFlags,
  restoreBlockImage,
  rmgrName,
  type WalRecord,
  WalStreamDecoder,
} from '@coppice/postgres';
import { formatLsn, type LsnNumber } from '@coppice/vocabulary';
import type { TestPostgres } from '../servers/postgres';
import { captureWal } from './capture-wal';

/** Bounds what one query returns. */
const RECORDS_PER_QUERY = 5_000;
const BYTES_PER_QUERY = 4 * 1024 * 1024;

export interface WaldumpComparison {
  readonly records: number;
  readonly blocks: number;
  readonly images: number;
  readonly bytes: number;
  /** Records per `<resource manager>/<record type>`, as PostgreSQL names them. */
  readonly kinds: ReadonlyMap<string, number>;
  /** One line per field that differs; empty when both readings agree. */
  readonly differences: readonly string[];
}

/** Compares both readings of `[from, to)`; both must be record ends. Needs `create extension pg_walinspect`. */
export async function compareWithWalinspect(
  server: TestPostgres,
  from: LsnNumber,
  to: LsnNumber,
): Promise<WaldumpComparison> {
  const comparison = new Comparison(server);
  const decoder = new WalStreamDecoder(from, { segmentSize: server.walSegmentSize });
  let batch: WalRecord[] = [];
  let batchStart = from;
  const flush = async (): Promise<void> => {
    if (batch.length === 0) return;
    await comparison.compare(batch, batchStart);
    batchStart = batch.at(-1)!.endLsn;
    batch = [];
  };
  for await (const chunk of captureWal(server, from, to)) {
    decoder.push(chunk, (record) => batch.push(record));
    if (batch.length >= RECORDS_PER_QUERY || decoder.lastRecordEnd - batchStart >= BYTES_PER_QUERY)
      await flush();
  }
  await flush();
  if (decoder.lastRecordEnd !== to) {
    comparison.differences.push(
      `WAL up to ${formatLsn(to)} decodes up to ${formatLsn(decoder.lastRecordEnd)} only`,
    );
  }
  return comparison;
}

interface RecordRow {
  readonly start: string;
  readonly end: string;
  readonly prev: string;
  readonly xid: string;
  readonly rmgr: string;
  readonly type: string;
  readonly length: number;
  readonly mainlength: number;
  readonly fpilength: number;
}

interface BlockRow {
  readonly start: string;
  readonly id: number;
  readonly tablespace: string;
  readonly database: string;
  readonly relation: string;
  readonly fork: number;
  readonly block: string;
  readonly datalength: number;
  readonly fpilength: number;
  readonly fpiinfo: string[] | null;
  readonly data: Buffer | null;
  readonly page: Buffer | null;
}

class Comparison implements WaldumpComparison {
  records = 0;
  blocks = 0;
  images = 0;
  bytes = 0;
  readonly kinds = new Map<string, number>();
  readonly differences: string[] = [];
  readonly #server: TestPostgres;
  /** PostgreSQL's name of each resource manager and `info`: one name for one pair. */
  readonly #typeOfInfo = new Map<string, string>();

  constructor(server: TestPostgres) {
    this.#server = server;
  }

  async compare(ours: readonly WalRecord[], start: LsnNumber): Promise<void> {
    const window = [formatLsn(start), formatLsn(ours.at(-1)!.endLsn)];
    const theirs = await this.#server.query<RecordRow>(
      `select start_lsn - '0/0' as start, end_lsn - '0/0' as end, prev_lsn - '0/0' as prev, xid::text as xid,
              resource_manager as rmgr, record_type as type, record_length as length,
              main_data_length as mainlength, fpi_length as fpilength
       from pg_get_wal_records_info($1, $2)`,
      window,
    );
    const blockRows = await this.#server.query<BlockRow>(
      `select start_lsn - '0/0' as start, block_id as id, reltablespace::text as tablespace,
              reldatabase::text as database, relfilenode::text as relation, relforknumber as fork,
              relblocknumber::text as block, block_data_length as datalength, block_fpi_length as fpilength,
              block_fpi_info as fpiinfo, block_data as data, block_fpi_data as page
       from pg_get_wal_block_info($1, $2, true)`,
      window,
    );
    const blocksOf = new Map<string, BlockRow[]>();
    for (const row of blockRows) {
      const rows = blocksOf.get(row.start);
      if (rows) rows.push(row);
      else blocksOf.set(row.start, [row]);
    }
    if (theirs.length !== ours.length) {
      this.differences.push(
        `${window.join('–')}: PostgreSQL reads ${theirs.length} records, we read ${ours.length}`,
      );
    }
    for (let i = 0; i < Math.min(theirs.length, ours.length); i++) {
      this.#compareRecord(ours[i]!, theirs[i]!);
      this.#compareBlocks(ours[i]!, blocksOf.get(theirs[i]!.start) ?? []);
    }
  }

  #compareRecord(ours: WalRecord, theirs: RecordRow): void {
    this.records++;
    this.bytes += ours.endLsn - ours.lsn;
    const kind = `${theirs.rmgr}/${theirs.type}`;
    this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + 1);
    const info = `${ours.rmgr} ${ours.info & 0xf0}`;
    this.#expect(ours, 'record type', this.#typeOfInfo.get(info) ?? kind, kind);
    this.#typeOfInfo.set(info, kind);
    this.#expect(ours, 'start_lsn', ours.lsn, Number(theirs.start));
    this.#expect(ours, 'end_lsn', ours.endLsn, Number(theirs.end));
    this.#expect(ours, 'prev_lsn', ours.prev, Number(theirs.prev));
    this.#expect(ours, 'xid', String(ours.xid), theirs.xid);
    this.#expect(ours, 'resource_manager', rmgrName(ours.rmgr), theirs.rmgr);
    this.#expect(ours, 'record_length', ours.bytes.length, theirs.length);
    this.#expect(ours, 'main_data_length', ours.mainData.length, theirs.mainlength);
    const fpi = ours.blocks.reduce((sum, block) => sum + (block.image?.bytes.length ?? 0), 0);
    this.#expect(ours, 'fpi_length', fpi, theirs.fpilength);
  }

  #compareBlocks(record: WalRecord, theirs: readonly BlockRow[]): void {
    this.#expect(record, 'number of blocks', record.blocks.length, theirs.length);
    const byId = new Map(theirs.map((row) => [row.id, row]));
    for (const block of record.blocks) {
      this.blocks++;
      const row = byId.get(block.id);
      if (row) this.#compareBlock(record, block, row);
      else this.differences.push(`${formatLsn(record.lsn)}: PostgreSQL knows no block ${block.id}`);
    }
  }

  #compareBlock(record: WalRecord, ours: BlockReference, theirs: BlockRow): void {
    const { relation: r } = ours;
    const [ourPlace, theirPlace] = [
      `${r.tablespace}/${r.database}/${r.relation}.${r.fork} blk ${ours.block}`,
      `${theirs.tablespace}/${theirs.database}/${theirs.relation}.${theirs.fork} blk ${theirs.block}`,
    ];
    this.#expect(record, `block ${ours.id}`, ourPlace, theirPlace);
    this.#expect(
      record,
      `block ${ours.id} data`,
      ours.data.toString('hex'),
      theirs.data?.toString('hex') ?? '',
    );
    this.#expect(record, `block ${ours.id} image length`, ours.image?.bytes.length ?? 0, theirs.fpilength);
    this.#expect(
      record,
      `block ${ours.id} image flags`,
      imageFlags(ours).join(),
      (theirs.fpiinfo ?? []).join(),
    );
    if (ours.image && theirs.page) {
      this.images++;
      const same = restoreBlockImage(ours.image, record.lsn).equals(theirs.page);
      this.#expect(record, `block ${ours.id} restored page`, same ? 'same' : 'different', 'same');
    }
  }

  #expect<T>(record: WalRecord, what: string, ours: T, theirs: T): void {
    if (ours !== theirs)
      this.differences.push(`${formatLsn(record.lsn)}: ${what} is ${theirs}, we read ${ours}`);
  }
}
