import { sparesFor } from './spare-memory';

const GIB = 1024 ** 3;

describe('memory that is kept for servers to come', () => {
  it('is as much as is wanted where there is plenty', () => {
    expect(sparesFor(50, { totalBytes: 24 * GIB, availableBytes: 20 * GIB })).toBe(50);
    expect(sparesFor(0, { totalBytes: 24 * GIB, availableBytes: 20 * GIB })).toBe(0);
  });
  it('is a tenth of the memory at most', () => {
    expect(sparesFor(1_000, { totalBytes: 24 * GIB, availableBytes: 20 * GIB })).toBe(102);
    expect(sparesFor(1_000, { totalBytes: GIB, availableBytes: GIB })).toBe(4);
  });
  it('is none where the memory runs short', () => {
    expect(sparesFor(50, { totalBytes: 24 * GIB, availableBytes: 3 * GIB })).toBe(0);
  });
});
