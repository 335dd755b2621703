import fc from 'fast-check';
import { lsn } from '@coppice/vocabulary';
import { WalWindow } from './wal-window';

describe('wal window', () => {
  it('gives back any slice of what is held, whatever the chunks were', () => {
    const scenario = fc.tuple(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 12 }), fc.nat(), fc.nat(), fc.nat());
    fc.assert(
      fc.property(scenario, ([sizes, dropAt, a, b]) => {
        const start = 1000n;
        const all = Buffer.from(Array.from({ length: sizes.reduce((x, y) => x + y) }, (_, i) => i));
        const window = new WalWindow(lsn(start));
        let at = 0;
        for (const size of sizes) {
          window.push(lsn(start + BigInt(at)), all.subarray(at, at + size));
          at += size;
        }
        window.dropBelow(lsn(start + BigInt(dropAt % (at + 1))));
        const held = Number(window.to - window.from);
        const begin = Number(window.from - start) + (a % (held + 1));
        const end = begin + (b % (at - begin + 1));
        expect(window.slice(lsn(start + BigInt(begin)), lsn(start + BigInt(end)))).toEqual(all.subarray(begin, end));
        expect(window.from <= start + BigInt(dropAt % (at + 1))).toBe(true);
      }),
    );
  });

  it('refuses a gap', () => {
    const window = new WalWindow(lsn(10n));
    window.push(lsn(10n), Buffer.alloc(5));
    expect(() => window.push(lsn(16n), Buffer.alloc(1))).toThrow('0/10 after 0/F');
  });
});
