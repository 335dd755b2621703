/**
 * Where things stand on the pages of PostgreSQL's SLRUs (src/backend/access/transam/clog.c, multixact.c).
 *
 *   pg_xact              2 bits per transaction, 4 transactions per byte, lowest bits first
 *   multixact offsets    u32 per multixact: where its members start
 *   multixact members    groups of 20 bytes: 4 status bytes, then the 4 transaction ids they belong to;
 *                        409 groups per page, the last 12 bytes are unused
 *
 * SLRU pages have no page header and no LSN.
 */
import { BLOCK_SIZE } from '@coppice/vocabulary';

export const XACTS_PER_PAGE = BLOCK_SIZE * 4;
export const MULTIXACT_OFFSETS_PER_PAGE = BLOCK_SIZE / 4;

const MEMBERS_PER_GROUP = 4;
const GROUP_BYTES = 20;
export const MULTIXACT_MEMBERS_PER_PAGE = Math.floor(BLOCK_SIZE / GROUP_BYTES) * MEMBERS_PER_GROUP;

/** The four states of a transaction in pg_xact. */
export const TransactionStatus = { inProgress: 0, committed: 1, aborted: 2, subCommitted: 3 } as const;
export type TransactionStatusNumber = (typeof TransactionStatus)[keyof typeof TransactionStatus];

/** The pg_xact page that holds the status of `xid`. */
export function xactPageOf(xid: number): number {
  return Math.floor(xid / XACTS_PER_PAGE);
}

/** The multixact offsets page that holds the entry of `multixact`. */
export function multixactOffsetPageOf(multixact: number): number {
  return Math.floor(multixact / MULTIXACT_OFFSETS_PER_PAGE);
}

/** The multixact members page that holds the member at `offset`. */
export function multixactMemberPageOf(offset: number): number {
  return Math.floor(offset / MULTIXACT_MEMBERS_PER_PAGE);
}

export function getTransactionStatus(page: Buffer, xid: number): TransactionStatusNumber {
  const slot = xid % XACTS_PER_PAGE;
  return ((page[slot >>> 2]! >>> ((slot & 3) * 2)) & 3) as TransactionStatusNumber;
}

export function putTransactionStatus(page: Buffer, xid: number, status: number): void {
  const slot = xid % XACTS_PER_PAGE;
  const shift = (slot & 3) * 2;
  page[slot >>> 2] = (page[slot >>> 2]! & ~(3 << shift)) | ((status & 3) << shift);
}

export function getMultixactOffset(page: Buffer, multixact: number): number {
  return page.readUInt32LE((multixact % MULTIXACT_OFFSETS_PER_PAGE) * 4);
}

export function putMultixactOffset(page: Buffer, multixact: number, offset: number): void {
  page.writeUInt32LE(offset, (multixact % MULTIXACT_OFFSETS_PER_PAGE) * 4);
}

/** One member of a multixact: the transaction and what it holds (`MultiXactStatus`). */
export interface MultixactMember {
  readonly xid: number;
  readonly status: number;
}

export function getMultixactMember(page: Buffer, offset: number): MultixactMember {
  const { status, xid } = memberPlace(offset);
  return { xid: page.readUInt32LE(xid), status: page[status]! };
}

export function putMultixactMember(page: Buffer, offset: number, member: MultixactMember): void {
  const { status, xid } = memberPlace(offset);
  page[status] = member.status;
  page.writeUInt32LE(member.xid, xid);
}

function memberPlace(offset: number): { status: number; xid: number } {
  const slot = offset % MULTIXACT_MEMBERS_PER_PAGE;
  const inGroup = slot % MEMBERS_PER_GROUP;
  const group = ((slot - inGroup) / MEMBERS_PER_GROUP) * GROUP_BYTES;
  return { status: group + inGroup, xid: group + MEMBERS_PER_GROUP + inGroup * 4 };
}
