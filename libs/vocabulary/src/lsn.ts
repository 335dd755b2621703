import type { Brand } from './brand';

/**
 * A byte position in a timeline's WAL (PostgreSQL: `XLogRecPtr`, src/include/access/xlogdefs.h), printed as two
 * hexadecimal halves: `16/B374D848`. Branded `bigint` at the edges; hot loops hold `LsnNumber`.
 */
export type Lsn = Brand<bigint, 'Lsn'>;

/**
 * An LSN as a plain number for hot loops. Exact up to 2^53 (9 PB of WAL in one timeline): `toLsnNumber` refuses more.
 */
export type LsnNumber = number;

export const INVALID_LSN = 0n as Lsn;
const MAX_LSN = (1n << 64n) - 1n;
const TEXT = /^([0-9a-fA-F]{1,8})\/([0-9a-fA-F]{1,8})$/;

/** Makes an LSN of a non-negative 64-bit integer. Throws `RangeError` outside it. */
export function lsn(value: bigint | number): Lsn {
  const wide = BigInt(value);
  if (wide < 0n || wide > MAX_LSN) throw new RangeError(`lsn ${wide} is outside 0..2^64-1`);
  return wide as Lsn;
}

/** Reads `16/B374D848`; `undefined` when the text is not an LSN. */
export function parseLsn(text: string): Lsn | undefined {
  const match = TEXT.exec(text);
  if (!match) return undefined;
  return ((BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)) as Lsn;
}

/** Prints as PostgreSQL does: upper-case hexadecimal, no padding. */
export function formatLsn(value: Lsn | LsnNumber): string {
  const wide = BigInt(value);
  return `${(wide >> 32n).toString(16).toUpperCase()}/${(wide & 0xffffffffn).toString(16).toUpperCase()}`;
}

/** The same position as a number. Throws `RangeError` above 2^53 - 1. */
export function toLsnNumber(value: Lsn): LsnNumber {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError(`lsn ${formatLsn(value)} is above 2^53`);
  return Number(value);
}

/** Negative, zero or positive as `a` is before, at or after `b`. */
export function compareLsn(a: Lsn, b: Lsn): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function maxLsn(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b;
}

export function minLsn(a: Lsn, b: Lsn): Lsn {
  return a < b ? a : b;
}
