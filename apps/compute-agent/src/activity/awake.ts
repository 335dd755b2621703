/** What keeps a compute awake, from one look at it. Pure. */
import type { AwakeReasonMessage } from '@coppice/contracts';

export type AwakeReason = AwakeReasonMessage;

/** PostgreSQL's own, which is no use of the compute: let finish, not counted. */
const AUTOVACUUM = 'autovacuum';
/** It is not let go on for ever: a table may be due again before the last one is done, milliseconds. */
export const AUTOVACUUM_PATIENCE_MS = 10 * 60_000;

export interface Look {
  /** The oldest first. */
  readonly reasons: readonly AwakeReason[];
  /** Something goes on that is let finish. */
  readonly held: boolean;
}

export const NOTHING_SEEN: Look = { reasons: [], held: false };

/** `before` and `active` are when the compute was last used, as of the look before and of this one. */
export function lookAt(
  reasons: readonly AwakeReason[],
  { before, active, now }: { readonly before: number; readonly active: number; readonly now: number },
): Look {
  const held = reasons.some((r) => r.kind === AUTOVACUUM) && now - active < AUTOVACUUM_PATIENCE_MS;
  const seen = held ? reasons : reasons.filter((r) => r.kind !== AUTOVACUUM);
  // Sessions that came and went between two looks, or did something quick.
  const between = seen.every((r) => r.kind === AUTOVACUUM) && active > before;
  const session = { kind: 'session', sinceUnixMs: Math.round(active), pid: 0, name: '', database: '' };
  return { reasons: between ? [session, ...seen] : seen, held };
}
