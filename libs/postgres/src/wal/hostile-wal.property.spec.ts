import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { restoreBlockImage } from '../page/block-image';
import { CorruptWal } from './corrupt-wal';
import { decodeRecord } from './decode-record';
import { WAL_PAGE_SIZE } from './page-header';
import type { WalRecord } from './record';
import { RecordBoundaries, recordBoundaryAtOrBefore } from './record-boundaries';
import { WalStreamDecoder } from './stream-decoder';

const OPTIONS = { segmentSize: 1024 * 1024 };
const path = join(__dirname, '../testdata/kinds');
const start = Number(readFileSync(`${path}.txt`, 'utf8').split('\n')[0]);
const wal = gunzipSync(readFileSync(`${path}.wal.gz`)).subarray(0, 60_000);

/** Records of `bytes` up to damage or their end; anything but `CorruptWal` is a bug and thrown. */
function decodeSome(bytes: Buffer, from: number): { records: WalRecord[]; position: number; end: number } {
  const records: WalRecord[] = [];
  const decoder = new WalStreamDecoder(from, OPTIONS);
  try {
    decoder.push(bytes, (record) => records.push(record));
  } catch (error) {
    if (!(error instanceof CorruptWal)) throw error;
  }
  return { records, position: decoder.position, end: decoder.lastRecordEnd };
}

const sound = decodeSome(wal, start).records;
const soundAt = new Map(sound.map((record) => [record.lsn, record]));

type Mutation =
  | { kind: 'flip'; at: number; bit: number }
  | { kind: 'overwrite'; at: number; bytes: Uint8Array }
  | { kind: 'insert'; at: number; bytes: Uint8Array }
  | { kind: 'remove'; at: number; count: number }
  | { kind: 'move'; from: number; to: number; count: number };

/** Not in the first record: nothing before it says that it is the one that belongs there. */
const position = fc.integer({ min: sound[0]!.bytes.length, max: wal.length - 1 });
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: position, bit: fc.nat(7) }),
  fc.record({
    kind: fc.constant('overwrite' as const),
    at: position,
    bytes: fc.uint8Array({ minLength: 1, maxLength: 64 }),
  }),
  fc.record({
    kind: fc.constant('insert' as const),
    at: position,
    bytes: fc.uint8Array({ minLength: 1, maxLength: 32 }),
  }),
  fc.record({ kind: fc.constant('remove' as const), at: position, count: fc.integer({ min: 1, max: 9000 }) }),
  fc.record({
    kind: fc.constant('move' as const),
    from: position,
    to: position,
    count: fc.integer({ min: 8, max: 9000 }),
  }),
);

function mutate(bytes: Buffer, m: Mutation): Buffer {
  const copy = Buffer.from(bytes);
  switch (m.kind) {
    case 'flip':
      if (m.at < copy.length) copy[m.at]! ^= 1 << m.bit;
      return copy;
    case 'overwrite':
      copy.set(m.bytes.subarray(0, Math.max(0, copy.length - m.at)), Math.min(m.at, copy.length));
      return copy;
    case 'insert':
      return Buffer.concat([copy.subarray(0, m.at), m.bytes, copy.subarray(m.at)]);
    case 'remove':
      return Buffer.concat([copy.subarray(0, m.at), copy.subarray(m.at + m.count)]);
    case 'move':
      copy.copyWithin(m.to, m.from, Math.min(m.from + m.count, copy.length));
      return copy;
  }
}

describe('damaged WAL', () => {
  it('gives true records up to the damage, and no others', () => {
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 3 }), (mutations) => {
        const { records, position, end } = decodeSome(mutations.reduce(mutate, wal), start);
        expect(end).toBeLessThanOrEqual(position);
        for (const record of records) {
          const truth = soundAt.get(record.lsn);
          if (!truth?.bytes.equals(record.bytes) || truth.endLsn !== record.endLsn) {
            throw new Error(`a record at ${record.lsn} that was never written`);
          }
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('puts no record end beyond what arrived, and none anywhere new after a flipped bit', () => {
    const ends = new Set([start, ...sound.map((record) => record.endLsn)]);
    fc.assert(
      fc.property(mutation, (m) => {
        const bytes = mutate(wal, m);
        const boundaries = new RecordBoundaries(start, OPTIONS);
        try {
          for (let at = 0; at < bytes.length; at += 4096) boundaries.push(bytes.subarray(at, at + 4096));
        } catch (error) {
          if (!(error instanceof CorruptWal)) throw error;
        }
        expect(boundaries.lastRecordEnd).toBeLessThanOrEqual(boundaries.position);
        if (m.kind === 'flip') expect(ends).toContain(decodeSome(bytes, start).end);
      }),
      { numRuns: 1000 },
    );
  });

  it('makes the search for a boundary fail or answer inside the bytes', () => {
    const firstPage = Math.ceil(start / WAL_PAGE_SIZE) * WAL_PAGE_SIZE;
    fc.assert(
      fc.property(mutation, fc.nat(30_000), (m, offset) => {
        const bytes = mutate(wal, m).subarray(firstPage - start);
        const lsn = firstPage + Math.min(offset, bytes.length);
        try {
          const found = recordBoundaryAtOrBefore(bytes, firstPage, lsn, OPTIONS.segmentSize);
          if (found !== undefined) expect(found >= firstPage && found <= lsn).toBe(true);
        } catch (error) {
          if (!(error instanceof CorruptWal)) throw error;
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('in one record (its checksum repaired by an attacker) decodes inside the record or not at all', () => {
    const index = fc.nat(sound.length - 1);
    const edits = fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(index, edits, (i, changes) => {
        const bytes = Buffer.from(sound[i]!.bytes);
        for (const [at, value] of changes) if (at >= 4 && at < bytes.length) bytes[at] = value;
        try {
          const record = decodeRecord(bytes, 8, 16);
          let payload = record.mainData.length;
          for (const { image, data } of record.blocks) {
            payload += data.length + (image?.bytes.length ?? 0);
            if (image) expect(image.holeOffset + image.holeLength).toBeLessThanOrEqual(8192);
            if (image && image.compression !== 'lz4' && image.compression !== 'zstd') {
              expect(restoreBlockImage(image, 8).length).toBe(8192);
            }
          }
          expect(payload).toBeLessThan(bytes.length);
        } catch (error) {
          if (!(error instanceof CorruptWal)) throw error;
        }
      }),
      { numRuns: 20_000 },
    );
  });
});
