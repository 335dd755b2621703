/** Idempotency keys are kept for a day: long past any client's retries. */
import { type Db, forgetIdempotencyKeys } from '@coppice/catalog';
import { BackgroundLoop, type Clock, type Log, part, type Part } from '@coppice/service-kit';

const KEEP_MS = 24 * 3_600_000;
const EVERY_MS = 60_000;
/** Deleted per round, so that a round never holds the table for long. */
const BATCH = 5_000;

export function forgetOldIdempotencyKeys(s: {
  readonly db: Db;
  readonly clock: Clock;
  readonly log: Log;
}): Part {
  const loop = new BackgroundLoop({
    name: 'forget-idempotency-keys',
    everyMs: EVERY_MS,
    log: s.log,
    clock: s.clock,
    run: async () => void (await forgetIdempotencyKeys(s.db, new Date(s.clock.now() - KEEP_MS), BATCH)),
  });
  return part(
    'forget-idempotency-keys',
    () => loop.start(),
    () => loop.stop(),
  );
}
