/**
 * Circular arithmetic of 32-bit transaction ids, multixact ids and multixact offsets (src/backend/access/transam/transam.c,
 * `TransactionIdPrecedes`; multixact.c, `MultiXactIdPrecedes`): of two ids the older is the one from which the other is
 * reached in fewer than 2^31 steps.
 */

/** Ids below this are permanent: invalid, bootstrap, frozen. They are older than every normal id. */
export const FIRST_NORMAL_XID = 3;
export const FIRST_MULTIXACT = 1;

export function xidPrecedes(a: number, b: number): boolean {
  if (a < FIRST_NORMAL_XID || b < FIRST_NORMAL_XID) return a < b;
  return ((a - b) | 0) < 0;
}

/** For multixact ids and offsets: no id is permanent. */
export function multixactPrecedes(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

/** The 64-bit id of `xid`, which is at most 2^31 before `next` and not after it (`FullTransactionIdFromAllowableAt`). */
export function fullXid(xid: number, next: { readonly epoch: number; readonly xid: number }): bigint {
  const epoch = xid > next.xid ? next.epoch - 1 : next.epoch;
  return (BigInt(Math.max(epoch, 0)) << 32n) | BigInt(xid);
}
