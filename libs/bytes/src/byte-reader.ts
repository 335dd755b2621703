/**
 * Reads a byte slice in wire order. Running past the end throws `EndOfBytes`: a stream decoder turns it into
 * "need more", a file decoder into its own corruption error. Names say the width and the byte order.
 */
export class EndOfBytes extends Error {
  constructor(wanted: number, left: number) {
    super(`wanted ${wanted} bytes, ${left} left`);
    this.name = 'EndOfBytes';
  }
}

export class ByteReader {
  readonly bytes: Buffer;
  offset: number;
  readonly end: number;

  /** Reads `bytes[start, end)`; shares the memory. */
  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.bytes = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.offset = start;
    this.end = end;
  }

  get remaining(): number {
    return this.end - this.offset;
  }

  #take(count: number): number {
    const at = this.offset;
    if (count < 0 || at + count > this.end) throw new EndOfBytes(count, this.end - at);
    this.offset = at + count;
    return at;
  }

  u8(): number {
    return this.bytes[this.#take(1)]!;
  }
  u16le(): number {
    return this.bytes.readUInt16LE(this.#take(2));
  }
  i16le(): number {
    return this.bytes.readInt16LE(this.#take(2));
  }
  u32le(): number {
    return this.bytes.readUInt32LE(this.#take(4));
  }
  i32le(): number {
    return this.bytes.readInt32LE(this.#take(4));
  }
  u64le(): bigint {
    return this.bytes.readBigUInt64LE(this.#take(8));
  }
  i64le(): bigint {
    return this.bytes.readBigInt64LE(this.#take(8));
  }
  u16be(): number {
    return this.bytes.readUInt16BE(this.#take(2));
  }
  i16be(): number {
    return this.bytes.readInt16BE(this.#take(2));
  }
  u32be(): number {
    return this.bytes.readUInt32BE(this.#take(4));
  }
  i32be(): number {
    return this.bytes.readInt32BE(this.#take(4));
  }
  u64be(): bigint {
    return this.bytes.readBigUInt64BE(this.#take(8));
  }
  i64be(): bigint {
    return this.bytes.readBigInt64BE(this.#take(8));
  }
  /** The next `count` bytes, not copied. */
  take(count: number): Buffer {
    const at = this.#take(count);
    return this.bytes.subarray(at, at + count);
  }
  skip(count: number): void {
    this.#take(count);
  }
  /** UTF-8 up to a NUL byte, which is consumed. */
  cstring(): string {
    const nul = this.bytes.indexOf(0, this.offset);
    if (nul < 0 || nul >= this.end) throw new EndOfBytes(1, 0);
    const text = this.bytes.toString('utf8', this.offset, nul);
    this.offset = nul + 1;
    return text;
  }
}
