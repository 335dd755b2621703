/**
 * PostgreSQL's `TimestampTz` (src/include/datatype/timestamp.h): microseconds since 2000-01-01 00:00 UTC, where the rest of
 * the world counts from 1970. Commit records and replication messages carry it as i64.
 */

/** 1970-01-01 to 2000-01-01: 10,957 days. */
const EPOCH_DIFFERENCE_MICROS = 10_957n * 86_400n * 1_000_000n;

/** Microseconds since 2000, from microseconds since 1970. */
export function pgMicrosFromUnixMicros(unixMicros: bigint): bigint {
  return unixMicros - EPOCH_DIFFERENCE_MICROS;
}

/** Microseconds since 1970, from microseconds since 2000. */
export function unixMicrosFromPgMicros(pgMicros: bigint): bigint {
  return pgMicros + EPOCH_DIFFERENCE_MICROS;
}

/** Microseconds since 2000, from milliseconds since 1970 (what a clock gives). */
export function pgMicrosFromUnixMillis(unixMillis: number): bigint {
  return pgMicrosFromUnixMicros(BigInt(Math.floor(unixMillis * 1000)));
}

/** The same instant, cut to the millisecond. */
export function dateFromPgMicros(pgMicros: bigint): Date {
  const unixMicros = unixMicrosFromPgMicros(pgMicros);
  const millis = unixMicros / 1000n - (unixMicros % 1000n < 0n ? 1n : 0n);
  return new Date(Number(millis));
}

/** Microseconds since 2000, of a date. */
export function pgMicrosFromDate(date: Date): bigint {
  return pgMicrosFromUnixMicros(BigInt(date.getTime()) * 1000n);
}
