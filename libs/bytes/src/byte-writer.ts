/** Appends fields in wire order to a growing buffer. */
export class ByteWriter {
  #bytes: Buffer;
  #length = 0;

  constructor(initialCapacity = 256) {
    this.#bytes = Buffer.allocUnsafe(initialCapacity);
  }

  get length(): number {
    return this.#length;
  }

  #grow(count: number): number {
    const at = this.#length;
    if (at + count > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, at + count));
      this.#bytes.copy(larger, 0, 0, at);
      this.#bytes = larger;
    }
    this.#length = at + count;
    return at;
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#bytes[at] = value;
    return this;
  }
  u16le(value: number): this {
    const at = this.#grow(2);
    this.#bytes.writeUInt16LE(value, at);
    return this;
  }
  u32le(value: number): this {
    const at = this.#grow(4);
    this.#bytes.writeUInt32LE(value, at);
    return this;
  }
  i32le(value: number): this {
    const at = this.#grow(4);
    this.#bytes.writeInt32LE(value, at);
    return this;
  }
  u64le(value: bigint): this {
    const at = this.#grow(8);
    this.#bytes.writeBigUInt64LE(value, at);
    return this;
  }
  i64le(value: bigint): this {
    const at = this.#grow(8);
    this.#bytes.writeBigInt64LE(value, at);
    return this;
  }
  u16be(value: number): this {
    const at = this.#grow(2);
    this.#bytes.writeUInt16BE(value, at);
    return this;
  }
  u32be(value: number): this {
    const at = this.#grow(4);
    this.#bytes.writeUInt32BE(value, at);
    return this;
  }
  i32be(value: number): this {
    const at = this.#grow(4);
    this.#bytes.writeInt32BE(value, at);
    return this;
  }
  u64be(value: bigint): this {
    const at = this.#grow(8);
    this.#bytes.writeBigUInt64BE(value, at);
    return this;
  }
  raw(bytes: Uint8Array): this {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }
  zeros(count: number): this {
    const at = this.#grow(count);
    this.#bytes.fill(0, at, at + count);
    return this;
  }
  /** UTF-8 with a closing NUL. */
  cstring(text: string): this {
    return this.raw(Buffer.from(text, 'utf8')).u8(0);
  }
  /** Overwrites four bytes written before, for lengths that are known late. */
  patchU32be(at: number, value: number): this {
    this.#bytes.writeUInt32BE(value, at);
    return this;
  }
  patchU32le(at: number, value: number): this {
    this.#bytes.writeUInt32LE(value, at);
    return this;
  }
  /** The bytes written so far; shares memory until the next write. */
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }
}
