/**
 * Counters of what agents have, for speed and atomicity. The truth is in the metadata Postgres; counters may be lost at any
 * time, come back old, or count too much, and still no agent ever gets one more than its limit:
 *
 *   reserve          counter += n, if it fits                        answers the epoch of the counters
 *   insert           one transaction: `select quota_epoch from agents where id = … for share`, refuse when it is not the
 *                    epoch of the reservation, insert the rows
 *   recount          one transaction: `update agents set quota_epoch = quota_epoch + 1`, and in a statement after it
 *                    (read committed) count the rows; when committed, `rebuild` the counters with that epoch
 *   delete           one transaction: read `quota_epoch … for share`, delete the rows; when committed, `release` under
 *                    that epoch
 *
 * Why no limit is passed: while the epoch in Postgres is E, counters of E are at least the rows plus the reservations of E
 * that may still commit. The update waits for every insert of an older epoch, so the count has them, and none can commit
 * after it. No insert of E commits before counters of E exist, for a reservation of E has to come first. A row deleted in E
 * was counted in E. And counters of E come into being once: `rebuild` is sent at most once for an epoch, so a store that
 * lost them cannot get them back later, stale. Counting in a transaction of its own would break this: a delete between the
 * two would be missing from the count and then be subtracted again.
 *
 * What can go wrong is on the safe side: a process that dies between reserving and inserting, or between deleting and
 * releasing, leaves the counters too high, until the next recount. Recounting is right at any time; reservations under way
 * find their epoch gone and start again.
 *
 * After restoring the metadata Postgres from a backup, raise every `quota_epoch`.
 */
import type { AgentLimits, Amounts, Counts, Exceeded } from '@coppice/quotas';

export type Reservation =
  | { readonly kind: 'reserved'; readonly epoch: number }
  | Exceeded
  /** The store has no counters of the agent: recount, then ask again. */
  | { readonly kind: 'unknown' };

export interface AgentCounters {
  readonly counts: Counts;
  readonly epoch: number;
}

export type RateAnswer =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly retryAfterMs: number };

/**
 * Every call is atomic and answers within a second or fails with `Unavailable` `quota-store-unavailable`; it may then have
 * been carried out or not. A signal is looked at before a call is sent. Amounts are whole numbers from 0.
 */
export interface QuotaStore {
  /** Takes all of `wants` or nothing. */
  reserve(agentId: string, wants: Amounts, limits: AgentLimits, signal?: AbortSignal): Promise<Reservation>;

  /** Gives back; counters never go below 0. Without effect when the counters are of another epoch than `epoch`. */
  release(agentId: string, amounts: Amounts, epoch: number, signal?: AbortSignal): Promise<void>;

  /**
   * Sets the counters, when there are none or only of an older epoch; never goes back. Returns the epoch that the store holds
   * then: a larger one means that the call was without effect. To be called once for each epoch.
   */
  rebuild(agentId: string, counts: Counts, epoch: number, signal?: AbortSignal): Promise<number>;

  /** The counters; `undefined` when there are none that count. */
  read(agentId: string, signal?: AbortSignal): Promise<AgentCounters | undefined>;

  /** Drops counters and rate of an agent. Right at any time. */
  forget(agentId: string, signal?: AbortSignal): Promise<void>;

  /** Takes one request out of the agent's bucket, which holds `burst` and fills at `ratePerSecond`. */
  takeRequest(
    agentId: string,
    ratePerSecond: number,
    burst: number,
    signal?: AbortSignal,
  ): Promise<RateAnswer>;
}
