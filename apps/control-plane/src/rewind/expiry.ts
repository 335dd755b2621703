/** When a checkpoint or snapshot ends by itself. Pure. */
import { CoppiceError } from '@coppice/service-kit';

/** Never before this much later than now, milliseconds: an expiry that has passed already is a mistake. */
const MIN_LIFE_MS = 1_000;

/** 0 stands for never. */
export function checkExpiry(expiresUnixMs: number, nowMs: number): Date | undefined {
  if (expiresUnixMs === 0) return undefined;
  const at = new Date(expiresUnixMs);
  if (Number.isNaN(at.getTime()) || expiresUnixMs < nowMs + MIN_LIFE_MS)
    throw new CoppiceError(
      'Invalid',
      'bad-expiry',
      `expires_at ${expiresUnixMs} is not a time in the future`,
      {
        remedy: `Use a time after ${new Date(nowMs + MIN_LIFE_MS).toISOString()}, or leave it out.`,
      },
    );
  return at;
}
