/**
 * A stand-in for WAL with the same troubles: records of different lengths that carry their length and a checksum, so a
 * log can end inside a record, and old bytes behind the end can look like records again.
 *
 *   ┌────────┬─────────┬───────┐
 *   │ length │  body   │ check │   length 3..255; zero where nothing was written
 *   └────────┴─────────┴───────┘
 */
import type { LogEnd } from '@coppice/consensus';
import { lsn, type Lsn } from '@coppice/vocabulary';

/** Where every simulated timeline begins. */
export const START = lsn(0x1000);
/** Room for one simulated log, bytes. */
export const LOG_BYTES = 16384;

export function offsetOf(position: Lsn): number {
  return Number(position - START);
}

export function positionAt(offset: number): Lsn {
  return (START + BigInt(offset)) as Lsn;
}

/** A record of `length` bytes whose body says who wrote it. */
export function modelRecord(length: number, salt: number): Uint8Array {
  const record = new Uint8Array(length);
  record[0] = length;
  for (let i = 1; i < length - 1; i++) record[i] = bodyByte(salt, i);
  record[length - 1] = checkOf(record, 0, length);
  return record;
}

function bodyByte(salt: number, i: number): number {
  return (salt + i * 7) & 255;
}

/** No accident passes: every byte of a record follows from its first two. */
function isSound(content: Uint8Array, at: number, length: number): boolean {
  const salt = content[at + 1]! - 7;
  for (let i = 2; i < length - 1; i++) if (content[at + i] !== bodyByte(salt, i)) return false;
  return content[at + length - 1] === checkOf(content, at, length);
}

/** Where the log that starts at `from` ends, taking complete records by their length only. */
export function followRecords(content: Uint8Array, from: number, written: number): LogEnd {
  let end = from;
  while (end < written && content[end]! > 0 && end + content[end]! <= written) end += content[end]!;
  return { recordEnd: positionAt(end), written: positionAt(written) };
}

/** The end of the last sound record of a log found on disk, from a known record boundary on. */
export function endOfSoundRecords(content: Uint8Array, from: number): number {
  let end = from;
  for (;;) {
    const length = content[end] ?? 0;
    if (length < 3 || end + length > content.length) return end;
    if (!isSound(content, end, length)) return end;
    end += length;
  }
}

function checkOf(bytes: Uint8Array, at: number, length: number): number {
  let check = 0x5a;
  for (let i = at; i < at + length - 1; i++) check = (check * 5 + bytes[i]!) & 255;
  return check;
}
