/**
 * Sizes of computes. One compute unit (CU) is one CPU and 4 GiB of memory; both go by the same number. Between its bounds a
 * compute has one of a few sizes, so that it stays with one for a while:
 *
 *   0.25   0.5   1   2   3   4 …      and the bounds themselves
 */

export const BYTES_PER_UNIT = 4 * 1024 ** 3;

/** Between which sizes a compute may be scaled, both included. */
export interface SizeBounds {
  readonly min: number;
  readonly max: number;
}

/** The bounds as far as a node can honour them: nobody gets more than it has. */
export function boundsOnNode({ min, max }: SizeBounds, nodeUnits: number): SizeBounds {
  const most = Math.min(max, nodeUnits);
  return { min: Math.min(min, most), max: most };
}

/** The smallest size with as many units as `wanted`, or the largest there is. */
export function sizeFor(wanted: number, { min, max }: SizeBounds): number {
  return Math.min(max, Math.max(min, stepFrom(wanted)));
}

function stepFrom(wanted: number): number {
  if (wanted <= 0.25) return 0.25;
  if (wanted <= 0.5) return 0.5;
  return Math.ceil(wanted);
}
