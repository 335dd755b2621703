/**
 * The first packet of a connection (PostgreSQL: ProcessStartupPacket, src/backend/tcop/backend_startup.c).
 *
 *   ┌─────────┬─────────┬───────────────────────────────────────────┐
 *   │ length  │  code   │ StartupMessage: name\0 value\0 … \0       │   length counts itself, big-endian
 *   │  u32    │  u32    │ CancelRequest: pid u32, secret            │
 *   └─────────┴─────────┴───────────────────────────────────────────┘
 *
 * Drivers that change their minds before it say goodbye as in a session: Terminate, 'X' and its length, 4.
 */
import { ByteReader, ByteWriter, EndOfBytes } from '@coppice/bytes';

/** Longest first packet that is read (MAX_STARTUP_PACKET_LENGTH). */
export const MAX_STARTUP_BYTES = 10_000;
const CANCEL = 80877102;
const SSL = 80877103;
const GSSENC = 80877104;
export const PROTOCOL_3_0 = 196608;
const TERMINATE = Buffer.from([0x58, 0, 0, 0, 4]);

export type FirstPacket =
  | { readonly kind: 'startup'; readonly version: number; readonly parameters: ReadonlyMap<string, string> }
  | { readonly kind: 'cancel'; readonly pid: number; readonly secret: Buffer }
  | { readonly kind: 'ssl' }
  | { readonly kind: 'gssenc' }
  | { readonly kind: 'terminate' };

/** The packet was not one that PostgreSQL's protocol knows. */
export class BadStartup extends Error {}

/** Reads one first packet off the front of `bytes`; `undefined` when more bytes are needed. Throws `BadStartup`. */
export function readFirstPacket(
  bytes: Buffer,
): { readonly packet: FirstPacket; readonly length: number } | undefined {
  if (bytes.length < 4) return undefined;
  if (bytes.subarray(0, TERMINATE.length).equals(TERMINATE))
    return { packet: { kind: 'terminate' }, length: TERMINATE.length };
  const length = bytes.readUInt32BE(0);
  if (length < 8 || length > MAX_STARTUP_BYTES)
    throw new BadStartup(`invalid length of startup packet: ${length}`);
  if (bytes.length < length) return undefined;
  const reader = new ByteReader(bytes, 4, length);
  const code = reader.u32be();
  return { packet: readBody(code, reader), length };
}

function readBody(code: number, reader: ByteReader): FirstPacket {
  if (code === SSL) return { kind: 'ssl' };
  if (code === GSSENC) return { kind: 'gssenc' };
  try {
    if (code === CANCEL)
      return { kind: 'cancel', pid: reader.u32be(), secret: reader.take(reader.remaining) };
    if (code >>> 16 !== 3)
      throw new BadStartup(
        `unsupported frontend protocol ${code >>> 16}.${code & 0xffff}: server supports 3.0`,
      );
    const parameters = new Map<string, string>();
    for (let name = reader.cstring(); name !== ''; name = reader.cstring())
      parameters.set(name, reader.cstring());
    return { kind: 'startup', version: code, parameters };
  } catch (error) {
    if (error instanceof EndOfBytes)
      throw new BadStartup('invalid startup packet layout: expected terminator as last byte');
    throw error;
  }
}

export function writeStartup(parameters: Iterable<readonly [string, string]>): Buffer {
  const writer = new ByteWriter().u32be(0).u32be(PROTOCOL_3_0);
  for (const [name, value] of parameters) writer.cstring(name).cstring(value);
  writer.u8(0);
  return writer.patchU32be(0, writer.length).finish();
}

export function writeCancel(pid: number, secret: Buffer): Buffer {
  return new ByteWriter()
    .u32be(12 + secret.length)
    .u32be(CANCEL)
    .u32be(pid)
    .raw(secret)
    .finish();
}
