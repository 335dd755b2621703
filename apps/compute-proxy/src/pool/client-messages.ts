/** Messages of a client, as far as they are told apart: their types, lengths and names. */
import { writeMessage } from '@coppice/postgres';
import { ProtocolViolation } from './conversation';

/** PostgreSQL's own limits (pqcomm.h, PQ_SMALL_MESSAGE_LIMIT and PQ_LARGE_MESSAGE_LIMIT). */
const SMALL = 10_000;
const LARGE = 0x3fffffff - 1;
export const MAX_NAME_BYTES = 1_024;
export const HEADER_BYTES = 5;

const LIMITS: ReadonlyMap<number, number> = new Map(
  Object.entries({ Q: LARGE, F: LARGE, P: LARGE, B: LARGE, d: LARGE, f: LARGE })
    .concat(Object.entries({ D: SMALL, E: SMALL, C: SMALL, H: SMALL, S: SMALL, c: SMALL, X: SMALL }))
    .map(([type, limit]) => [type.charCodeAt(0), limit]),
);

export const T = Object.fromEntries([...'QFPBDECHSdcfX'].map((type) => [type, type.charCodeAt(0)])) as Record<
  'Q' | 'F' | 'P' | 'B' | 'D' | 'E' | 'C' | 'H' | 'S' | 'd' | 'c' | 'f' | 'X',
  number
>;
/** What a Describe or Close is about. */
export const STATEMENT = T.S;
/** With the names and counts that they must have. */
const SHORTEST: Readonly<Record<number, number>> = { [T.P]: 8, [T.B]: 12, [T.D]: 6, [T.C]: 6 };

/** Throws `ProtocolViolation` when no message of the type is so long, or there is no such type. */
export function checkLength(type: number, length: number): void {
  const limit = LIMITS.get(type);
  if (limit === undefined) throw new ProtocolViolation(`invalid frontend message type ${type}`);
  if (length < (SHORTEST[type] ?? 4) || length > limit)
    throw new ProtocolViolation(`invalid message length ${length} of message type ${type}`);
}

export function closeStatement(name: string): Buffer {
  return writeMessage('C', Buffer.from(`S${name}\0`, 'latin1'));
}

export function badFormat(): ProtocolViolation {
  return new ProtocolViolation('invalid message format');
}

/** A C string; the message must have it whole. */
export function name(bytes: Buffer, from: number, end: number): string {
  const nul = bytes.indexOf(0, from);
  if (nul < 0 || nul >= end || nul - from > MAX_NAME_BYTES) throw badFormat();
  return bytes.toString('latin1', from, nul);
}
