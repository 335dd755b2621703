/**
 * The newest versions of a timeline, in memory, until they are written as a delta layer. Values stand one by another in
 * large chunks; versions are rows of parallel arrays, chained per key from newest to oldest. A value therefore costs its
 * bytes and 29 more, and no object.
 */
import type { PageValue } from '@coppice/postgres';
import type { LsnNumber, PageKey } from '@coppice/vocabulary';
import { valueTag } from './layer-block';
import type { VersionSearch } from './versions';

const CHUNK_BYTES = 1 << 20;
const FIRST_CHUNK_BYTES = 1 << 14;
const BYTES_PER_VERSION = 29;
const BYTES_PER_KEY = 120;

export class OpenLayer {
  /** Versions are all above this. */
  readonly startLsn: LsnNumber;
  readonly #heads = new Map<PageKey, number>();
  readonly #chunks: Buffer[] = [];
  #lsns = new Float64Array(64);
  #previous = new Int32Array(64);
  #chunkOf = new Uint32Array(64);
  #offsets = new Uint32Array(64);
  #lengths = new Uint32Array(64);
  #tags = new Uint8Array(64);
  #count = 0;
  #filled = 0;
  #valueBytes = 0;
  #lastBytes: Buffer | undefined;

  constructor(startLsn: LsnNumber) {
    this.startLsn = startLsn;
  }

  get count(): number {
    return this.#count;
  }
  /** About what it costs in memory. */
  get bytes(): number {
    return this.#valueBytes + this.#count * BYTES_PER_VERSION + this.#heads.size * BYTES_PER_KEY;
  }

  /** Adds a version, the newest of its key so far, or replaces the newest of the same LSN. The bytes are copied. */
  put(key: PageKey, lsn: LsnNumber, value: PageValue): void {
    const row = this.#count;
    if (row === this.#lsns.length) this.#grow();
    const head = this.#heads.get(key) ?? -1;
    const isAgain = head >= 0 && this.#lsns[head] === lsn;
    if (head >= 0 && this.#lsns[head]! > lsn) throw new RangeError('versions of a key must come in the order of their LSNs');
    const { bytes } = value;
    if (bytes === this.#lastBytes && this.#lsns[row - 1] === lsn) {
      this.#chunkOf[row] = this.#chunkOf[row - 1]!;
      this.#offsets[row] = this.#offsets[row - 1]!;
    } else this.#store(row, bytes);
    this.#lengths[row] = bytes.length;
    this.#tags[row] = valueTag(value);
    this.#lsns[row] = lsn;
    this.#previous[row] = isAgain ? this.#previous[head]! : head;
    this.#heads.set(key, row);
    this.#count = row + 1;
  }

  /** Takes what this layer has of the key, from newest to oldest. */
  search(into: VersionSearch): void {
    let row = this.#heads.get(into.key) ?? -1;
    while (row >= 0 && this.#lsns[row]! > into.lsn) row = this.#previous[row]!;
    for (; row >= 0 && !into.done; row = this.#previous[row]!) {
      const lsn = this.#lsns[row]!;
      if (lsn <= into.floor) return;
      into.take(lsn, this.#tags[row]!, this.#bytesOf(row));
    }
  }

  /** Keys in order. */
  sortedKeys(): PageKey[] {
    return [...this.#heads.keys()].sort();
  }

  /** Keys of `[from, to)` that have a version, in order. Costs a look at every key. */
  keysBetween(from: PageKey, to: PageKey): PageKey[] {
    const keys: PageKey[] = [];
    for (const key of this.#heads.keys()) if (key >= from && key < to) keys.push(key);
    return keys.sort();
  }

  /** All versions of a key from oldest to newest. */
  forEachVersion(key: PageKey, visit: (lsn: LsnNumber, tag: number, bytes: Buffer) => void): void {
    const rows: number[] = [];
    for (let row = this.#heads.get(key) ?? -1; row >= 0; row = this.#previous[row]!) rows.push(row);
    for (let i = rows.length - 1; i >= 0; i -= 1) {
      const row = rows[i]!;
      visit(this.#lsns[row]!, this.#tags[row]!, this.#bytesOf(row));
    }
  }

  #bytesOf(row: number): Buffer {
    const offset = this.#offsets[row]!;
    return this.#chunks[this.#chunkOf[row]!]!.subarray(offset, offset + this.#lengths[row]!);
  }

  #store(row: number, bytes: Buffer): void {
    let chunk = this.#chunks.at(-1);
    if (chunk === undefined || this.#filled + bytes.length > chunk.length) {
      const size = chunk === undefined ? FIRST_CHUNK_BYTES : Math.min(CHUNK_BYTES, chunk.length * 2);
      chunk = Buffer.allocUnsafeSlow(Math.max(size, bytes.length));
      this.#chunks.push(chunk);
      this.#filled = 0;
    }
    bytes.copy(chunk, this.#filled);
    this.#chunkOf[row] = this.#chunks.length - 1;
    this.#offsets[row] = this.#filled;
    this.#filled += bytes.length;
    this.#valueBytes += bytes.length;
    this.#lastBytes = bytes;
  }

  #grow(): void {
    const size = this.#lsns.length * 2;
    const larger = <T extends Float64Array | Int32Array | Uint32Array | Uint8Array>(made: T, old: T): T => {
      made.set(old);
      return made;
    };
    this.#lsns = larger(new Float64Array(size), this.#lsns);
    this.#previous = larger(new Int32Array(size), this.#previous);
    this.#chunkOf = larger(new Uint32Array(size), this.#chunkOf);
    this.#offsets = larger(new Uint32Array(size), this.#offsets);
    this.#lengths = larger(new Uint32Array(size), this.#lengths);
    this.#tags = larger(new Uint8Array(size), this.#tags);
  }
}
