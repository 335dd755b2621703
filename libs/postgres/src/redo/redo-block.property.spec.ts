import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { CorruptWal, UnsupportedWal } from '../wal/corrupt-wal';
import { decodeRecord } from '../wal/decode-record';
import type { WalRecord } from '../wal/record';
import { redoBlock } from './redo-block';
import { readRedoFixtures } from './testdata/read-fixtures';

const fixtures = readRedoFixtures(readFileSync(join(__dirname, 'testdata/redo-17.bin.gz')));
const GUARD = 1024;

/** Byte positions to overwrite, as fractions, and what with. */
const damage = fc.array(
  fc.tuple(fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), fc.integer({ min: 0, max: 255 })),
  {
    minLength: 1,
    maxLength: 6,
  },
);
/** An index, so that a counterexample prints short. */
const fixture = fc.integer({ min: 0, max: fixtures.length - 1 });
const untouched = Buffer.alloc(GUARD, 0x5a);
const guarded = Buffer.alloc(GUARD + 8192 + GUARD, 0x5a);

function damaged(
  bytes: Buffer,
  how: readonly (readonly [number, number])[],
  from: number,
  to = bytes.length,
): Buffer {
  const copy = Buffer.from(bytes);
  for (const [place, value] of how) if (to > from) copy[from + Math.floor(place * (to - from))] = value;
  return copy;
}

/** Runs redo inside guard bytes; anything but success or one of the two errors is a failure of the test. */
function survives(page: Buffer, record: WalRecord): void {
  const inside = guarded.subarray(GUARD, GUARD + 8192);
  for (const block of record.blocks) {
    page.copy(inside);
    try {
      redoBlock(inside, record, { ...block, image: undefined });
    } catch (error) {
      if (!(error instanceof CorruptWal) && !(error instanceof UnsupportedWal)) throw error;
    }
  }
  const guards = [guarded.subarray(0, GUARD), guarded.subarray(GUARD + 8192)];
  expect(guards.every((guard) => guard.equals(untouched))).toBe(true);
}

/** Where a record's payload without images starts to matter: its last main-data and block-data bytes. */
function withDamagedData(record: WalRecord, how: readonly (readonly [number, number])[]): WalRecord {
  return {
    ...record,
    mainData: damaged(record.mainData, how.slice(0, 2), 0),
    blocks: record.blocks.map((b) => ({ ...b, data: damaged(b.data, how.slice(1), 0) })),
  };
}

describe('redo of hostile WAL', () => {
  it('ends in CorruptWal or in a page, never outside it, when the record’s data is damaged', () => {
    fc.assert(
      fc.property(fixture, damage, (i, how) =>
        survives(fixtures[i]!.before, withDamagedData(fixtures[i]!.record, how)),
      ),
      { numRuns: 600 },
    );
  });

  it('ends so when the page is damaged', () => {
    fc.assert(
      fc.property(fixture, damage, fc.boolean(), (i, how, headerOnly) =>
        survives(damaged(fixtures[i]!.before, how, 0, headerOnly ? 24 : 8192), fixtures[i]!.record),
      ),
      { numRuns: 600 },
    );
  });

  it('ends so when the data is cut short', () => {
    fc.assert(
      fc.property(fixture, fc.double({ min: 0, max: 1, noNaN: true }), (i, kept) => {
        const { record, before } = fixtures[i]!;
        const cut = (bytes: Buffer): Buffer => bytes.subarray(0, Math.floor(bytes.length * kept));
        survives(before, { ...record, blocks: record.blocks.map((b) => ({ ...b, data: cut(b.data) })) });
        survives(before, { ...record, mainData: cut(record.mainData) });
      }),
      { numRuns: 600 },
    );
  });

  it('ends so when records meet pages of other kinds, and other operations', () => {
    fc.assert(
      fc.property(fixture, fixture, fc.integer({ min: 0, max: 255 }), (a, b, info) => {
        survives(fixtures[b]!.before, fixtures[a]!.record);
        survives(fixtures[a]!.before, { ...fixtures[a]!.record, info });
      }),
      { numRuns: 600 },
    );
  });

  it('decodes and applies any bytes or refuses them', () => {
    fc.assert(
      fc.property(fixture, damage, (i, how) => {
        const { record, before } = fixtures[i]!;
        const bytes = damaged(record.bytes, how, 24, Math.min(record.bytes.length, 120));
        let decoded: WalRecord;
        try {
          decoded = decodeRecord(bytes, record.lsn, record.endLsn);
        } catch (error) {
          if (error instanceof CorruptWal) return;
          throw error;
        }
        survives(before, decoded);
      }),
      { numRuns: 600 },
    );
  });
});
