import { growth, median, partOf, type Sample } from './trend';

const every = (seconds: number, values: readonly number[]): Sample[] =>
  values.map((value, i) => ({ at: i * seconds, value }));

describe('the growth of samples', () => {
  it('is what they grow over their whole time', () => {
    expect(growth(every(5, [10, 11, 12, 13, 14]))).toBeCloseTo(4);
    expect(growth(every(5, [14, 13, 12, 11, 10]))).toBeCloseTo(-4);
  });

  it('is not moved by what comes and goes', () => {
    const sawtooth = Array.from({ length: 60 }, (_, i) => 100 + (i % 6) * 5);
    expect(Math.abs(growth(every(5, sawtooth)))).toBeLessThan(2);
    const spiked = Array.from({ length: 60 }, (_, i) => (i >= 50 && i < 56 ? 500 : 100));
    expect(growth(every(5, spiked))).toBe(0);
  });

  it('shows a slow leak below a sawtooth', () => {
    const leaking = Array.from({ length: 60 }, (_, i) => 100 + (i % 6) * 5 + i / 2);
    expect(growth(every(5, leaking))).toBeGreaterThan(25);
  });

  it('is none of one sample, or of none', () => {
    expect([growth([]), growth(every(1, [3]))]).toEqual([0, 0]);
  });
});

describe('parts of the time', () => {
  it('hold every sample once, in order, however they are spread', () => {
    const samples = [0, 1, 2, 9, 10, 11, 12].map((at) => ({ at, value: at }));
    const parts = [0, 1, 2].map((index) => partOf(samples, { index, parts: 3 }));
    expect(parts.flat()).toEqual(samples);
    expect(parts.map((p) => p.map(({ at }) => at))).toEqual([[0, 1, 2], [], [9, 10, 11, 12]]);
  });
});

it('the median of an even number of values is the upper of the two in the middle', () => {
  expect([median([4, 1, 3, 2]), median([7])]).toEqual([3, 7]);
  expect(median([])).toBeNaN();
});
