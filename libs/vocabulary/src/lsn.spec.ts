import fc from 'fast-check';
import { formatLsn, lsn, parseLsn, toLsnNumber } from './lsn';
import { KeyKind, pageKeyFields, pageKeyFromBytes, pageKeyToBytes, relationBlockKey } from './page-key';

describe('lsn', () => {
  it('prints as PostgreSQL does', () => {
    expect(formatLsn(lsn(0x16b374d848n))).toBe('16/B374D848');
  });
  it('reads back what it prints', () => {
    fc.assert(fc.property(fc.bigInt(0n, (1n << 64n) - 1n), (n) => parseLsn(formatLsn(lsn(n))) === n));
  });
  it('refuses what is not an lsn', () => {
    for (const text of ['', '0', '1/', '/1', '1/2/3', '123456789/0', 'g/0'])
      expect(parseLsn(text)).toBeUndefined();
  });
  it('refuses to become an inexact number', () => {
    expect(() => toLsnNumber(lsn(1n << 53n))).toThrow(RangeError);
  });
});

describe('page key', () => {
  const u32 = fc.nat(0xffffffff);
  it('keeps its fields and sorts as its bytes', () => {
    const key = fc
      .tuple(u32, u32, u32, fc.constantFrom(0, 1, 2, 3), u32)
      .map(([tablespace, database, relation, fork, block]) => ({
        tablespace,
        database,
        relation,
        fork: fork as 0,
        block,
      }));
    fc.assert(
      fc.property(key, key, (a, b) => {
        const ka = relationBlockKey(a, a.block);
        const kb = relationBlockKey(b, b.block);
        expect(pageKeyFields(ka)).toEqual({ kind: KeyKind.relationBlock, ...a });
        expect(pageKeyFromBytes(pageKeyToBytes(ka))).toBe(ka);
        expect(Math.sign(Buffer.compare(pageKeyToBytes(ka), pageKeyToBytes(kb)))).toBe(
          ka < kb ? -1 : ka > kb ? 1 : 0,
        );
      }),
    );
  });
});
