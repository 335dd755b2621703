/** The span and the frames that accounts are asked for. Pure. */
import type { Granularity } from '@coppice/catalog';
import { CoppiceError } from '@coppice/service-kit';

export interface Span {
  readonly from: Date;
  readonly to: Date;
  readonly granularity: Granularity;
}

const HOUR_MS = 3_600_000;
/** Most that one question may span, as Neon's API has it. */
const GRANULARITIES: Readonly<Record<string, { readonly unit: Granularity; readonly mostHours: number }>> = {
  hourly: { unit: 'hour', mostHours: 168 },
  daily: { unit: 'day', mostHours: 60 * 24 },
  monthly: { unit: 'month', mostHours: 367 * 24 },
};

/** The span brought to whole frames: its start down, its end up to now at most. */
export function spanOf(
  asked: { readonly fromUnixMs: number; readonly toUnixMs: number; readonly granularity: string },
  nowMs: number,
): Span {
  const known = GRANULARITIES[asked.granularity];
  if (!known)
    throw new CoppiceError(
      'Invalid',
      'bad-granularity',
      `granularity is ${JSON.stringify(asked.granularity.slice(0, 40))}`,
      { remedy: `Use ${Object.keys(GRANULARITIES).join(', ')}.` },
    );
  const toMs = Math.min(asked.toUnixMs, nowMs);
  if (asked.fromUnixMs < 0 || asked.fromUnixMs >= toMs)
    throw new CoppiceError('Invalid', 'bad-span', 'from is not after 1970 and before to and now', {
      remedy: 'Ask for a span that begins in the past and before its end.',
    });
  const from = startOf(asked.fromUnixMs, known.unit);
  if (toMs - from.getTime() > known.mostHours * HOUR_MS)
    throw new CoppiceError(
      'Invalid',
      'span-too-long',
      `the span has ${Math.ceil((toMs - from.getTime()) / HOUR_MS)} hours`,
      { remedy: `Ask ${asked.granularity} for up to ${known.mostHours} hours at a time.` },
    );
  return { from, to: new Date(toMs), granularity: known.unit };
}

function startOf(ms: number, unit: Granularity): Date {
  const d = new Date(ms);
  const [year, month] = [d.getUTCFullYear(), d.getUTCMonth()];
  switch (unit) {
    case 'month':
      return new Date(Date.UTC(year, month, 1));
    case 'day':
      return new Date(Date.UTC(year, month, d.getUTCDate()));
    case 'hour':
      return new Date(Math.floor(ms / HOUR_MS) * HOUR_MS);
  }
}
