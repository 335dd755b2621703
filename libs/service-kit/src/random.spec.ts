import { systemRandom } from './random';

const hex = (count: number): string => systemRandom.bytes(count).toString('hex');

describe("the system's randomness", () => {
  it('gives as many bytes as asked for, never the same twice, across pages of them', () => {
    const sizes = [0, 1, 16, 4095, 4096, 4097, 20_000];
    expect(sizes.map((size) => systemRandom.bytes(size).length)).toEqual(sizes);
    const ids = Array.from({ length: 2_000 }, () => hex(16));
    expect(new Set(ids).size).toBe(ids.length);
    // Bytes that were left at 0 would show: a page is 256 ids.
    expect(ids.filter((id) => id.includes('0'.repeat(16)))).toEqual([]);
  });

  it('gives bytes that nobody else has', () => {
    const [first, second] = [systemRandom.bytes(16), systemRandom.bytes(16)];
    expect(first.buffer).not.toBe(second.buffer);
  });
});
