import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { restoreBlockImage } from '../page/block-image';
import { CorruptWal } from './corrupt-wal';
import { describeRecord } from './describe-record';
import { WAL_PAGE_SIZE } from './page-header';
import type { WalRecord } from './record';
import { RecordBoundaries, recordBoundaryAtOrBefore } from './record-boundaries';
import { WalStreamDecoder } from './stream-decoder';
import { Rmgr, XlogInfo } from './rmgr';

const SEGMENT_SIZE = 1024 * 1024;
const OPTIONS = { segmentSize: SEGMENT_SIZE };

/** Captured from a real server: see golden-wal.ts in libs/testing. */
function golden(name: string): { from: number; bytes: Buffer; lines: string[] } {
  const path = join(__dirname, '../testdata', name);
  const [from, ...lines] = readFileSync(`${path}.txt`, 'utf8').trimEnd().split('\n');
  return { from: Number(from), bytes: gunzipSync(readFileSync(`${path}.wal.gz`)), lines };
}

function decode(bytes: Buffer, from: number, pieces: Iterable<Uint8Array> = [bytes]): WalRecord[] {
  const records: WalRecord[] = [];
  const decoder = new WalStreamDecoder(from, OPTIONS);
  for (const piece of pieces) decoder.push(piece, (record) => records.push(record));
  return records;
}

/** As in the golden files, which PostgreSQL wrote and which do not tell these fields. */
function describeAsPostgres(record: WalRecord): string {
  return describeRecord(record)
    .replace(/ 0x[0-9a-f]{2} len/, ' len')
    .replace(/ (origin|top) \d+/g, '');
}

const kinds = golden('kinds');
const switched = golden('switched');
const overwritten = golden('overwritten');
const goldens = Object.entries({ kinds, switched, overwritten });

describe('decoding a WAL stream', () => {
  it.each(goldens)('of "%s" gives what PostgreSQL read', (_name, { from, bytes, lines }) => {
    expect(decode(bytes, from).map(describeAsPostgres)).toEqual(lines);
  });

  it.each(goldens)('of "%s" byte by byte gives the same', (_name, { from, bytes, lines }) => {
    const pieces = Array.from(bytes, (_, at) => bytes.subarray(at, at + 1));
    expect(decode(bytes, from, pieces).map(describeAsPostgres)).toEqual(lines);
  });

  it('gives the same cut in two anywhere around a segment boundary', () => {
    const { from, bytes } = kinds;
    const records = decode(bytes, from);
    const boundary = Math.ceil(from / SEGMENT_SIZE) * SEGMENT_SIZE;
    const first = records.findLast((record) => record.endLsn < boundary - 1500)!.endLsn;
    const last = records.find((record) => record.lsn > boundary + 1500)!.lsn;
    const window = bytes.subarray(first - from, last - from);
    const expected = decode(window, first).map((record) => record.bytes);
    expect(expected.length).toBeGreaterThan(3);
    for (let at = 0; at <= window.length; at++) {
      const cut = decode(window, first, [window.subarray(0, at), window.subarray(at)]);
      if (cut.length !== expected.length || cut.some((record, i) => !record.bytes.equals(expected[i]!))) {
        throw new Error(`cut at ${at} the window decodes differently`);
      }
    }
  });

  it('can begin at any record', () => {
    const records = decode(kinds.bytes, kinds.from);
    for (let i = 0; i < records.length - 1; i += 7) {
      const start = records[i]!.endLsn;
      const rest = decode(kinds.bytes.subarray(start - kinds.from), start);
      expect(rest.length).toBe(records.length - i - 1);
      expect(rest[0]!.lsn).toBe(records[i + 1]!.lsn);
    }
  });

  it('restores every image to a page, compressed ones too', () => {
    const images = decode(kinds.bytes, kinds.from).flatMap((record) =>
      record.blocks.flatMap((block) => block.image ?? []),
    );
    expect(images.some((image) => image.compression === 'pglz')).toBe(true);
    for (const image of images) {
      const page = restoreBlockImage(image, 0);
      // pd_pagesize_version: 8 KiB pages of layout 4.
      expect(page.readUInt16LE(18)).toBe(8192 | 4);
      expect(
        page.subarray(image.holeOffset, image.holeOffset + image.holeLength).every((byte) => byte === 0),
      ).toBe(true);
    }
  });

  it('tells origins and top-level transactions', () => {
    const records = decode(kinds.bytes, kinds.from);
    expect(records.some((record) => record.origin === 1)).toBe(true);
    const sub = records.find((record) => record.toplevelXid !== 0)!;
    expect(sub.toplevelXid).toBeLessThan(sub.xid);
  });

  it('goes from a switch straight to the next segment', () => {
    const records = decode(switched.bytes, switched.from);
    const at = records.findIndex(
      (record) => record.rmgr === Rmgr.xlog && (record.info & 0xf0) === XlogInfo.switch,
    );
    expect(records[at]!.endLsn % SEGMENT_SIZE).toBe(0);
    expect(records[at + 1]!.lsn).toBe(records[at]!.endLsn + 40);
  });

  it('drops a record whose end was lost in a crash', () => {
    const records = decode(overwritten.bytes, overwritten.from);
    const at = records.findIndex(
      (record) => (record.info & 0xf0) === XlogInfo.overwriteContrecord && record.rmgr === Rmgr.xlog,
    );
    const [before, overwrite] = [records[at - 1]!, records[at]!];
    expect(Number(overwrite.mainData.readBigUInt64LE(0))).toBe(before.endLsn);
    expect(overwrite.lsn - before.endLsn).toBeGreaterThan(WAL_PAGE_SIZE);
    expect(overwrite.prev).toBe(before.lsn);
  });

  it('hands out what comes before damage, then fails, and stays failed', () => {
    const { from, bytes } = kinds;
    const records = decode(bytes, from);
    const victim = records[100]!;
    const damaged = Buffer.from(bytes);
    damaged[victim.lsn - from + 30]! ^= 1;
    const decoder = new WalStreamDecoder(from, OPTIONS);
    let seen = 0;
    expect(() => decoder.push(damaged, () => seen++)).toThrow(CorruptWal);
    expect(seen).toBe(100);
    expect(() => decoder.push(bytes, () => seen++)).toThrow(/corrupt WAL at/);
    expect(seen).toBe(100);
  });

  it('takes zeros for damage in a stream and for the end in a file', () => {
    const { from, bytes, lines } = kinds;
    const padded = Buffer.concat([bytes, Buffer.alloc(3 * WAL_PAGE_SIZE)]);
    expect(() => decode(padded, from)).toThrow(/record length is 0/);
    const decoder = new WalStreamDecoder(from, { ...OPTIONS, zeros: 'end' });
    let seen = 0;
    decoder.push(padded, () => seen++);
    expect(seen).toBe(lines.length);
    expect(decoder.ended).toBe(true);
    expect(decoder.lastRecordEnd).toBe(from + bytes.length);
  });

  it('refuses the WAL of another cluster, and to start where no record can', () => {
    const boundary = Math.ceil(kinds.from / SEGMENT_SIZE) * SEGMENT_SIZE;
    const decoder = new WalStreamDecoder(kinds.from, { ...OPTIONS, systemIdentifier: 1n });
    expect(() => decoder.push(kinds.bytes, () => undefined)).toThrow(/system identifier/);
    for (const start of [
      boundary + 8,
      boundary + 32,
      boundary + WAL_PAGE_SIZE + 16,
      boundary + 100,
      -8,
      NaN,
    ]) {
      expect(() => new WalStreamDecoder(start, OPTIONS)).toThrow(RangeError);
    }
  });

  it('does not believe a length before the bytes are there', () => {
    const header = Buffer.alloc(24);
    header.writeUInt32LE(1000 * 1024 * 1024, 0);
    const decoder = new WalStreamDecoder(5 * WAL_PAGE_SIZE + 1024, OPTIONS);
    const before = process.memoryUsage().arrayBuffers;
    decoder.push(header, () => undefined);
    decoder.push(Buffer.alloc(5000), () => undefined);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 1024 * 1024);
  });
});

describe('record boundaries', () => {
  it.each(goldens)('of "%s" are where the decoder puts them', (_name, { from, bytes }) => {
    const decoder = new WalStreamDecoder(from, OPTIONS);
    const boundaries = new RecordBoundaries(from, OPTIONS);
    let previous: number | undefined;
    for (let at = 0; at < bytes.length; at += 61) {
      const piece = bytes.subarray(at, at + 61);
      decoder.push(piece, (record) => (previous = record.lsn));
      expect(boundaries.push(piece)).toBe(decoder.lastRecordEnd);
      expect(boundaries.lastRecordStart).toBe(previous);
    }
  });

  it.each(goldens)(
    'of "%s" are found from the page headers before any position',
    (_name, { from, bytes }) => {
      const records = decode(bytes, from);
      const firstPage = Math.ceil(from / WAL_PAGE_SIZE) * WAL_PAGE_SIZE;
      let index = 0;
      for (let lsn = firstPage + WAL_PAGE_SIZE; lsn <= from + bytes.length; lsn += 977) {
        while (index + 1 < records.length && records[index + 1]!.endLsn <= lsn) index++;
        let found: number | undefined;
        for (
          let page = lsn - (lsn % WAL_PAGE_SIZE);
          found === undefined && page >= firstPage;
          page -= WAL_PAGE_SIZE
        ) {
          found = recordBoundaryAtOrBefore(bytes.subarray(page - from, lsn - from), page, lsn, SEGMENT_SIZE);
        }
        // Behind a switch the next page with a header is the next segment's.
        if (found !== undefined) expect(found).toBe(records[index]!.endLsn);
      }
    },
  );

  it('are not found where a long record covers everything', () => {
    const records = decode(kinds.bytes, kinds.from);
    const long = records.find((record) => record.bytes.length > 2 * WAL_PAGE_SIZE)!;
    const page = Math.ceil(long.lsn / WAL_PAGE_SIZE) * WAL_PAGE_SIZE;
    const bytes = kinds.bytes.subarray(page - kinds.from);
    expect(recordBoundaryAtOrBefore(bytes, page, page + 5000, SEGMENT_SIZE)).toBeUndefined();
    expect(recordBoundaryAtOrBefore(bytes, page, long.endLsn, SEGMENT_SIZE)).toBe(long.endLsn);
  });
});
