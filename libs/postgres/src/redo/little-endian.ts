/**
 * Checked little-endian access for redo. `Buffer`'s own methods check as well but take four times as long, and redo does
 * little else; outside the buffer these throw `DamagedPage`.
 */

/** A page or a record does not fit the other: the change cannot be made. */
export class DamagedPage extends Error {}

function outside(bytes: Buffer, at: number): DamagedPage {
  return new DamagedPage(`byte ${at} of ${bytes.length}`);
}

export function u8(bytes: Buffer, at: number): number {
  const value = bytes[at];
  if (value === undefined) throw outside(bytes, at);
  return value;
}

export function u16(bytes: Buffer, at: number): number {
  const low = bytes[at];
  const high = bytes[at + 1];
  if (low === undefined || high === undefined) throw outside(bytes, at);
  return low | (high << 8);
}

export function u32(bytes: Buffer, at: number): number {
  const low = bytes[at];
  const high = bytes[at + 3];
  if (low === undefined || high === undefined) throw outside(bytes, at);
  return (low | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (high << 24)) >>> 0;
}

export function putU8(bytes: Buffer, at: number, value: number): void {
  if (bytes[at] === undefined) throw outside(bytes, at);
  bytes[at] = value;
}

export function putU16(bytes: Buffer, at: number, value: number): void {
  if (bytes[at] === undefined || bytes[at + 1] === undefined) throw outside(bytes, at);
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}

export function putU32(bytes: Buffer, at: number, value: number): void {
  if (bytes[at] === undefined || bytes[at + 3] === undefined) throw outside(bytes, at);
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}
