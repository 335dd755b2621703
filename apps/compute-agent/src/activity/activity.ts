/** What one look at a compute tells about its use, and what follows from it. */

export interface ActivitySample {
  /** Client sessions that are not idle: running, or inside a transaction. */
  readonly busySessions: number;
  /** When a client session last changed its state, Unix milliseconds; `undefined` without client sessions. */
  readonly lastStateChangeMs: number | undefined;
  /** Sessions that clients have opened since the server started. */
  readonly sessionsOpened: number;
  readonly preparedTransactions: number;
  /** Replication connections other than the agent's own. */
  readonly replicas: number;
}

/** When the compute was last used, as of a look at `now`: work under way counts as use, an open idle session does not. */
export function lastActive(before: { readonly activeMs: number; readonly sessionsOpened: number }, sample: ActivitySample, now: number): number {
  const inUse = sample.busySessions > 0 || sample.preparedTransactions > 0 || sample.replicas > 0 || sample.sessionsOpened > before.sessionsOpened;
  if (inUse) return Math.max(before.activeMs, now);
  return Math.max(before.activeMs, Math.min(now, sample.lastStateChangeMs ?? 0));
}
