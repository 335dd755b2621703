import { memoryLimits } from './memory-limits';
import { BYTES_PER_UNIT } from './sizes';

const GIB = 1024 ** 3;
const limits = (units: number, mostUnits: number, heldGib: number, hardGib?: number) => {
  const before = hardGib === undefined ? undefined : { soft: 0, hard: hardGib * GIB };
  const { soft, hard } = memoryLimits({ units, mostUnits, heldBytes: heldGib * GIB, before });
  return [soft / GIB, hard / GIB];
};

describe('memory of a compute', () => {
  it('is its size, softly, and its largest size at most', () => {
    expect(BYTES_PER_UNIT).toBe(4 * GIB);
    expect(limits(0.25, 2, 0.1)).toEqual([1, 8]);
    expect(limits(2, 2, 0.1)).toEqual([8, 8]);
  });
  it('is never set below what is held already', () => {
    expect(limits(0.25, 2, 4)).toEqual([5, 8]);
    expect(limits(0.25, 0.5, 4, 8)).toEqual([5, 5]);
  });
  it('does not grow beyond the largest size, however much is held', () => {
    expect(limits(2, 2, 7.9, 8)).toEqual([8, 8]);
    expect(limits(0.5, 0.5, 4.8, 5)).toEqual([5, 5]);
    expect(limits(0.5, 0.5, 3.2, 5)).toEqual([4, 4]);
    expect(limits(0.5, 0.5, 1, 5)).toEqual([2, 2]);
  });
});
