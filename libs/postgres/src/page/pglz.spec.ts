import { pglzDecompress } from './pglz';

const unpack = (source: number[] | Buffer, length: number): string | undefined => {
  const target = Buffer.alloc(length);
  return pglzDecompress(Buffer.from(source), target) ? target.toString('latin1') : undefined;
};
const text = (s: string): number[] => [...Buffer.from(s, 'latin1')];

describe('pglz', () => {
  it('copies literals and repeats overlapping matches', () => {
    // The example in pg_lzcompress.c: five literals, then 16 bytes from 4 back.
    expect(unpack([0b100000, ...text('11234'), 16 - 3, 4], 21)).toBe('112341234123412341234');
  });

  it('reads a third byte for long matches', () => {
    expect(unpack([0b10, ...text('a'), 0x0f, 1, 200], 1 + 18 + 200)).toBe('a'.repeat(219));
  });

  it('reaches more than 255 bytes back', () => {
    const literals = Array.from({ length: 600 }, (_, i) => 33 + (i % 91));
    const source: number[] = [];
    for (let at = 0; at < 600; at += 8) source.push(0, ...literals.slice(at, at + 8));
    // 500 bytes back: high nibble 1, low byte 0xf4.
    source.push(1, 0x10 | 7, 0xf4);
    const expected = Buffer.from([...literals, ...literals.slice(100, 110)]).toString('latin1');
    expect(unpack(source, 610)).toBe(expected);
  });

  it.each([
    ['a match before the start', [0b10, 97, 0, 2], 4],
    ['a match at no distance', [0b10, 97, 0, 0], 4],
    ['half a match', [0b10, 97, 0], 4],
    ['a long match without its length', [0b10, 97, 0x0f, 1], 30],
    ['too little output', [0, 97, 98], 3],
    ['input left over', [0, 97, 98], 1],
  ])('refuses %s', (_what, source, length) => {
    expect(unpack(source, length)).toBeUndefined();
  });
});
