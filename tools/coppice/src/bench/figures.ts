/** Figures of a bench run: printed as a table, one JSON line each in bench/results.jsonl, with `met` or `short` behind a target. */
import { appendFileSync, mkdirSync } from 'node:fs';

export { median } from '@coppice/testing';

export interface Figure {
  readonly bench: string;
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** The same measure of the baseline in the same run. */
  readonly baseline?: number;
  readonly target?: { readonly atMost?: number; readonly atLeast?: number };
}

export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * p) / 100))]!;
}

/** `met`, `short`, or nothing when there is no target. */
export function verdict({ value, target }: Figure): 'met' | 'short' | '' {
  if (!target) return '';
  const met =
    (target.atMost === undefined || value <= target.atMost) &&
    (target.atLeast === undefined || value >= target.atLeast);
  return met ? 'met' : 'short';
}

const shown = (n: number): string => (n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2));

export function report(figures: readonly Figure[]): void {
  mkdirSync('bench', { recursive: true });
  for (const f of figures) {
    const ratio =
      f.baseline === undefined ? '' : `baseline ${shown(f.baseline)} (${shown(f.value / f.baseline)}×)`;
    const target =
      f.target === undefined
        ? ''
        : `target ${f.target.atMost !== undefined ? `≤ ${f.target.atMost}` : `≥ ${f.target.atLeast}`}`;
    console.log(
      `${f.bench.padEnd(11)} ${f.name.padEnd(36)} ${shown(f.value).padStart(9)} ${f.unit.padEnd(6)} ${ratio.padEnd(28)} ${target.padEnd(14)} ${verdict(f)}`,
    );
    appendFileSync(
      'bench/results.jsonl',
      `${JSON.stringify({ at: new Date().toISOString(), ...f, verdict: verdict(f) || undefined })}\n`,
    );
  }
}
