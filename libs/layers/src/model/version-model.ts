/** A dumb model for tests: keeps every version of every key and looks through all of them. */
import fc from 'fast-check';
import type { PageValue } from '@coppice/postgres';
import type { PageKey } from '@coppice/vocabulary';
import { relationBlockKey } from '@coppice/vocabulary';

export interface Version {
  readonly key: PageKey;
  readonly lsn: number;
  readonly value: PageValue;
}

export function testKey(n: number): PageKey {
  return relationBlockKey({ tablespace: 1663, database: 5, relation: 1 + (n >> 3), fork: 0 }, n & 7);
}

/** What a search for `key` at `lsn` must find, newest first, above `floor`. */
export function expectedVersions(versions: readonly Version[], key: PageKey, lsn: number, floor = 0): Version[] {
  const found: Version[] = [];
  const newestFirst = versions.filter((v) => v.key === key && v.lsn <= lsn && v.lsn > floor).sort((a, b) => b.lsn - a.lsn);
  for (const version of newestFirst) {
    found.push(version);
    if (version.value.kind === 'image' || version.value.willInit) break;
  }
  return found;
}

const valueBytes = fc.oneof(
  { weight: 6, arbitrary: fc.uint8Array({ maxLength: 40 }) },
  { weight: 1, arbitrary: fc.nat(255).map((fill) => new Uint8Array(9000).fill(fill)) },
);

export const anyValue: fc.Arbitrary<PageValue> = fc.tuple(fc.nat(9), valueBytes).map(([pick, raw]) => {
  const bytes = Buffer.from(raw);
  if (pick === 0) return { kind: 'image', bytes };
  if (pick < 3) return { kind: 'small', bytes, willInit: pick === 1 };
  return { kind: 'wal', bytes, willInit: pick === 3 };
});

/** A history: records at rising LSNs, each putting at most one value per key, over `keys` keys. */
export function anyHistory(keys: number, maxRecords: number, startLsn = 100): fc.Arbitrary<Version[]> {
  const record = fc.tuple(fc.integer({ min: 24, max: 300 }), fc.uniqueArray(fc.nat(keys - 1), { minLength: 1, maxLength: 4 }), anyValue);
  return fc.array(record, { maxLength: maxRecords }).map((records) => {
    let lsn = startLsn;
    return records.flatMap(([length, touched, value]) => {
      lsn += length;
      return touched.map((n) => ({ key: testKey(n), lsn, value }));
    });
  });
}
