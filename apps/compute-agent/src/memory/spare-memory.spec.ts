import { spareMebibytes, withSpares } from './spare-memory';

const GIB = 1024 ** 3;
const node = (totalGib: number, availableGib: number) => ({ totalBytes: totalGib * GIB, availableBytes: availableGib * GIB });

describe('memory that is kept for servers to come', () => {
  it('is a tenth of the memory at most', () => {
    expect(spareMebibytes(0, node(20, 15))).toBe(2 * 1024);
  });
  it('leaves a part of the memory to others', () => {
    expect(spareMebibytes(0, node(20, 4))).toBe(1024);
    expect(spareMebibytes(0, node(20, 3))).toBe(0);
    expect(spareMebibytes(0, node(20, 0.1))).toBe(0);
  });
  it('is as much when it is there as when it was asked for', () => {
    for (let available = 0; available <= 20; available += 0.25) {
      const first = spareMebibytes(0, node(20, available));
      const kept = (first * GIB) / 1024;
      expect(spareMebibytes(kept, node(20, available - kept / GIB))).toBe(first);
    }
  });
  it('is had by computes that need it', () => {
    expect(withSpares(node(20, 3), 2 * GIB)).toEqual(node(20, 5));
  });
});
