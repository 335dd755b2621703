/** What many samples tell of a tendency, such that a few odd ones do not. Pure. */

export interface Sample {
  /** Seconds, from any origin. */
  readonly at: number;
  readonly value: number;
}

/** NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? NaN;
}

/** How much the values grow from the first sample to the last: the median slope of all pairs (Theil–Sen), over their span. */
export function growth(samples: readonly Sample[]): number {
  const slopes: number[] = [];
  for (const [i, a] of samples.entries())
    for (const b of samples.slice(i + 1)) if (b.at > a.at) slopes.push((b.value - a.value) / (b.at - a.at));
  const span = (samples.at(-1)?.at ?? 0) - (samples[0]?.at ?? 0);
  return slopes.length === 0 ? 0 : median(slopes) * span;
}

/** The samples of part `index` of `parts` of the time from the first sample to the last. */
export function partOf(
  samples: readonly Sample[],
  { index, parts }: { readonly index: number; readonly parts: number },
): Sample[] {
  const from = samples[0]?.at ?? 0;
  const length = ((samples.at(-1)?.at ?? 0) - from) / parts;
  const isLast = index === parts - 1;
  return samples.filter(
    ({ at }) => at >= from + index * length && (isLast || at < from + (index + 1) * length),
  );
}
