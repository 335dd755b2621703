import { CoppiceError } from '@coppice/service-kit';

/** Larger than any message of a physical replication stream (128 KiB of WAL and a header). */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
const HEADER_BYTES = 5;

/**
 * Cuts a byte stream from PostgreSQL into messages. A message that lies whole in one chunk is handed on without a copy;
 * one that straddles chunks is put together once.
 */
export class MessageFramer {
  readonly #onMessage: (type: number, body: Buffer) => void;
  /** Bytes of an unfinished header. */
  #headerBytes = Buffer.alloc(HEADER_BYTES);
  #headerLength = 0;
  /** The message under assembly once its header is known. */
  #body: Buffer | undefined;
  #bodyLength = 0;
  #type = 0;

  constructor(onMessage: (type: number, body: Buffer) => void) {
    this.#onMessage = onMessage;
  }

  /** Takes the next chunk. Throws `Corrupt` on an impossible length; the stream is unusable from then on. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#body) at = this.#fillBody(this.#body, chunk, at);
      else if (this.#headerLength === 0 && chunk.length - at >= HEADER_BYTES) at = this.#wholeOrBegin(chunk, at);
      else at = this.#fillHeader(chunk, at);
    }
  }

  #wholeOrBegin(chunk: Buffer, at: number): number {
    const length = bodyLength(chunk.readUInt32BE(at + 1));
    const start = at + HEADER_BYTES;
    if (chunk.length - start >= length) {
      this.#onMessage(chunk[at]!, chunk.subarray(start, start + length));
      return start + length;
    }
    this.#begin(chunk[at]!, length);
    return start;
  }

  #fillHeader(chunk: Buffer, at: number): number {
    const taken = Math.min(HEADER_BYTES - this.#headerLength, chunk.length - at);
    chunk.copy(this.#headerBytes, this.#headerLength, at, at + taken);
    this.#headerLength += taken;
    if (this.#headerLength === HEADER_BYTES) {
      this.#headerLength = 0;
      this.#begin(this.#headerBytes[0]!, bodyLength(this.#headerBytes.readUInt32BE(1)));
    }
    return at + taken;
  }

  #begin(type: number, length: number): void {
    if (length === 0) {
      this.#onMessage(type, Buffer.alloc(0));
      return;
    }
    this.#type = type;
    this.#body = Buffer.allocUnsafeSlow(length);
    this.#bodyLength = 0;
  }

  #fillBody(body: Buffer, chunk: Buffer, at: number): number {
    const taken = Math.min(body.length - this.#bodyLength, chunk.length - at);
    chunk.copy(body, this.#bodyLength, at, at + taken);
    this.#bodyLength += taken;
    if (this.#bodyLength === body.length) {
      this.#body = undefined;
      this.#onMessage(this.#type, body);
    }
    return at + taken;
  }
}

function bodyLength(length: number): number {
  if (length >= 4 && length <= MAX_MESSAGE_BYTES) return length - 4;
  throw new CoppiceError('Corrupt', 'bad-postgres-message', `a message of ${length} bytes arrived from postgres`);
}
