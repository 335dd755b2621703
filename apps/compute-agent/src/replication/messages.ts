/**
 * The part of PostgreSQL's wire protocol that a physical replication client needs (protocol 3.0; PostgreSQL manual,
 * "Streaming Replication Protocol"). All integers are big-endian.
 *
 *   startup      ┌ length i32 ┬ 196608 i32 ┬ name\0 value\0 … ┬ \0 ┐
 *   any other    ┌ type u8 ┬ length i32, counts itself ┬ body ┐
 *
 *   CopyData ('d') bodies once streaming:
 *     server → client   'w' │ start u64 │ server's WAL end u64 │ sent at i64 │ WAL bytes
 *                       'k' │ server's WAL end u64 │ sent at i64 │ reply wanted u8
 *     client → server   'r' │ written u64 │ flushed u64 │ applied u64 │ sent at i64 │ reply wanted u8
 */
import { ByteReader, ByteWriter } from '@coppice/bytes';
import { lsn, type Lsn } from '@coppice/vocabulary';

const PROTOCOL_3 = 196_608;

/** Type bytes of the backend messages that this client meets. */
export const Backend = {
  authentication: 0x52,
  parameterStatus: 0x53,
  keyData: 0x4b,
  ready: 0x5a,
  rowDescription: 0x54,
  dataRow: 0x44,
  commandComplete: 0x43,
  error: 0x45,
  notice: 0x4e,
  copyBoth: 0x57,
  copyData: 0x64,
  copyDone: 0x63,
} as const;

/** What stands in one CopyData message of a physical replication stream. */
export type StreamMessage =
  | { readonly kind: 'wal'; readonly start: Lsn; readonly bytes: Buffer }
  | { readonly kind: 'keepalive'; readonly walEnd: Lsn; readonly replyWanted: boolean }
  | { readonly kind: 'unknown'; readonly tag: number };

export function encodeStartup(parameters: Readonly<Record<string, string>>): Buffer {
  const writer = new ByteWriter().u32be(0).u32be(PROTOCOL_3);
  for (const [name, value] of Object.entries(parameters)) writer.cstring(name).cstring(value);
  writer.u8(0);
  return writer.patchU32be(0, writer.length).finish();
}

/** A simple query ('Q'). */
export function encodeQuery(text: string): Buffer {
  const writer = new ByteWriter().u8(0x51).u32be(0).cstring(text);
  return writer.patchU32be(1, writer.length - 1).finish();
}

/** CopyDone ('c'): the client ends its direction of the stream. */
export function encodeCopyDone(): Buffer {
  return Buffer.from([0x63, 0, 0, 0, 4]);
}

/** Terminate ('X'). */
export function encodeTerminate(): Buffer {
  return Buffer.from([0x58, 0, 0, 0, 4]);
}

/** A standby status update in a CopyData message. `micros` is the client's time since 2000-01-01 UTC. */
export function encodeStatus(position: Lsn, micros: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(39);
  bytes[0] = Backend.copyData;
  bytes.writeUInt32BE(38, 1);
  bytes[5] = 0x72;
  bytes.writeBigUInt64BE(position, 6);
  bytes.writeBigUInt64BE(position, 14);
  bytes.writeBigUInt64BE(position, 22);
  bytes.writeBigInt64BE(micros, 30);
  bytes[38] = 0;
  return bytes;
}

/** Reads the body of a CopyData message; WAL bytes share its memory. Throws `EndOfBytes` on a short body. */
export function decodeStreamMessage(body: Buffer): StreamMessage {
  const reader = new ByteReader(body);
  const tag = reader.u8();
  if (tag === 0x77) {
    const start = lsn(reader.u64be());
    reader.skip(16);
    return { kind: 'wal', start, bytes: reader.take(reader.remaining) };
  }
  if (tag === 0x6b) {
    const walEnd = lsn(reader.u64be());
    reader.skip(8);
    return { kind: 'keepalive', walEnd, replyWanted: reader.u8() === 1 };
  }
  return { kind: 'unknown', tag };
}

/** Columns of a DataRow as text; `undefined` is NULL. */
export function decodeDataRow(body: Buffer): (string | undefined)[] {
  const reader = new ByteReader(body);
  return Array.from({ length: reader.u16be() }, () => {
    const length = reader.i32be();
    return length < 0 ? undefined : reader.take(length).toString('utf8');
  });
}

/** The server's complaint: severity, SQLSTATE and text of an ErrorResponse. */
export function decodeError(body: Buffer): { readonly severity: string; readonly sqlstate: string; readonly message: string } {
  const reader = new ByteReader(body);
  const fields = new Map<number, string>();
  for (let field = reader.u8(); field !== 0; field = reader.u8()) fields.set(field, reader.cstring());
  return { severity: fields.get(0x56) ?? fields.get(0x53) ?? 'ERROR', sqlstate: fields.get(0x43) ?? 'XX000', message: fields.get(0x4d) ?? '' };
}
