const EMPTY = Buffer.alloc(0);

/**
 * The beginning of a message whose rest is still to come, in whatever small pieces. It is looked at again when there are as many
 * bytes as it needs, and grows by doubling.
 */
export class HeldBytes {
  /** Has room for more behind what it holds; what it holds is never changed. */
  #store: Buffer = EMPTY;
  #length = 0;
  #wanted = 0;

  get bytes(): Buffer {
    return this.#store.subarray(0, this.#length);
  }

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  /** What is held and what follows, which is then held no more; `undefined` as long as these are too few. */
  take(chunk: Buffer): Buffer | undefined {
    if (this.#length === 0) return chunk;
    this.#append(chunk);
    if (this.#length < this.#wanted) return undefined;
    const { bytes } = this;
    this.keep(EMPTY, 0);
    return bytes;
  }

  /** Until there are `wanted` bytes. */
  keep(bytes: Buffer, wanted: number): void {
    this.#store = bytes;
    this.#length = bytes.length;
    this.#wanted = wanted;
  }

  #append(chunk: Buffer): void {
    const length = this.#length + chunk.length;
    if (length > this.#store.length) {
      const capacity = Math.max(length, Math.min(2 * length, this.#wanted));
      const larger = Buffer.allocUnsafe(capacity);
      this.#store.copy(larger, 0, 0, this.#length);
      this.#store = larger;
    }
    chunk.copy(this.#store, this.#length);
    this.#length = length;
  }
}
