/**
 * Messages after the first packet (PostgreSQL documentation, "Message Formats"): one type byte, a big-endian length that
 * counts itself but not the type, then the body.
 */
import { ByteWriter } from '@coppice/bytes';

export interface Message {
  /** The type as its character. */
  readonly type: string;
  readonly body: Buffer;
}

/** A message was longer than the reader accepts, or its length is impossible. */
export class BadMessage extends Error {}

/** Reads one message off the front of `bytes`; `undefined` when more are needed. Throws `BadMessage` above `maxBytes`. */
export function readMessage(
  bytes: Buffer,
  maxBytes: number,
): { readonly message: Message; readonly length: number } | undefined {
  if (bytes.length < 5) return undefined;
  const length = bytes.readUInt32BE(1);
  if (length < 4 || length > maxBytes)
    throw new BadMessage(`invalid message length ${length}, at most ${maxBytes} bytes are accepted here`);
  if (bytes.length < length + 1) return undefined;
  return {
    message: { type: String.fromCharCode(bytes[0]!), body: bytes.subarray(5, length + 1) },
    length: length + 1,
  };
}

export function writeMessage(type: string, body: Uint8Array = Buffer.alloc(0)): Buffer {
  return new ByteWriter(5 + body.length)
    .u8(type.charCodeAt(0))
    .u32be(4 + body.length)
    .raw(body)
    .finish();
}

export interface ErrorFields {
  readonly severity: 'FATAL' | 'ERROR' | 'PANIC';
  /** SQLSTATE. */
  readonly code: string;
  readonly message: string;
  readonly hint?: string | undefined;
}

export function writeError({ severity, code, message, hint }: ErrorFields): Buffer {
  const body = new ByteWriter();
  const field = (type: string, text: string): void =>
    void body.u8(type.charCodeAt(0)).cstring(text.replaceAll('\0', ''));
  field('S', severity);
  field('V', severity);
  field('C', code);
  field('M', message);
  if (hint) field('H', hint);
  return writeMessage('E', body.u8(0).finish());
}

/** The fields of an ErrorResponse by their one-letter type. */
export function readErrorFields(body: Buffer): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (let at = 0; at < body.length && body[at] !== 0; ) {
    const nul = body.indexOf(0, at + 1);
    if (nul < 0) break;
    fields.set(String.fromCharCode(body[at]!), body.toString('utf8', at + 1, nul));
    at = nul + 1;
  }
  return fields;
}

/** Kinds of AuthenticationRequest ('R'). */
export const Auth = { ok: 0, cleartext: 3, sasl: 10, saslContinue: 11, saslFinal: 12 } as const;

export function writeAuthentication(kind: number, data: Uint8Array = Buffer.alloc(0)): Buffer {
  return writeMessage('R', new ByteWriter().u32be(kind).raw(data).finish());
}

/** NegotiateProtocolVersion: we speak 3.0 and know none of the `_pq_.` options. */
export function writeNegotiateProtocol(unknownOptions: readonly string[]): Buffer {
  const body = new ByteWriter().u32be(0).u32be(unknownOptions.length);
  for (const option of unknownOptions) body.cstring(option);
  return writeMessage('v', body.finish());
}
