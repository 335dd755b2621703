/**
 * One block of a layer file: versions sorted by (key, LSN), found by binary search without unpacking.
 *
 *   ┌───────┬──────────────────┬────────────────────────┐
 *   │ count │ count × 32 bytes │ values, one by another │
 *   │ u32le │ the table        │                        │
 *   └───────┴──────────────────┴────────────────────────┘
 *   entry:  key 18 bytes · value kind u8 · zero u8 · end of the value from the first value's start u32le · LSN u64le
 *   kinds:  0 image · 1 WAL record · 2 small record; bit 7: needs no base (will-init)
 *
 * In the file a block stands in an envelope, compressed or not:
 *
 *   ┌─────────────┬──────────────┬─────────┬──────┬─────────┐
 *   │ crc-32c u32 │ raw size u32 │ codec u8│ 0 ×3 │ payload │   codec 0: as it is, 1: LZ4 with its size in front
 *   └─────────────┴──────────────┴─────────┴──────┴─────────┘   the CRC covers everything after itself
 */
import { crc32c } from '@coppice/bytes';
import type { PageValue } from '@coppice/postgres';
import type { LsnNumber, PageKey } from '@coppice/vocabulary';
import { PAGE_KEY_BYTES } from '@coppice/vocabulary';
import { compressSync, uncompressSync } from 'lz4-napi';
import { CorruptLayer } from './corrupt-layer';

export const ENTRY_BYTES = 32;
const COUNT_BYTES = 4;
const ENVELOPE_BYTES = 12;
/** A block is about 32 KiB; a single value may be as large as a WAL record. */
const MAX_RAW_BYTES = 0x40000000;
const TWO_32 = 4294967296;
const WILL_INIT = 0x80;
const KINDS = ['image', 'wal', 'small'] as const;

/** The byte that stands for a value's kind. */
export function valueTag(value: PageValue): number {
  switch (value.kind) {
    case 'image':
      return 0;
    case 'wal':
      return value.willInit ? 1 | WILL_INIT : 1;
    case 'small':
      return value.willInit ? 2 | WILL_INIT : 2;
  }
}

/** Whether rebuilding may start at a value of this tag. */
export function tagNeedsNoBase(tag: number): boolean {
  return tag === 0 || (tag & WILL_INIT) !== 0;
}

/** A value of its tag and bytes. */
export function valueOfTag(tag: number, bytes: Buffer): PageValue {
  const kind = KINDS[tag & ~WILL_INIT];
  if (kind === undefined) throw new CorruptLayer(`value kind ${tag}`);
  return kind === 'image' ? { kind, bytes } : { kind, bytes, willInit: (tag & WILL_INIT) !== 0 };
}

export function writeLsn(into: Buffer, at: number, lsn: LsnNumber): void {
  into.writeUInt32LE(lsn % TWO_32, at);
  into.writeUInt32LE(Math.floor(lsn / TWO_32), at + 4);
}

export function readLsn(from: Buffer, at: number): LsnNumber {
  return from.readUInt32LE(at) + from.readUInt32LE(at + 4) * TWO_32;
}

/** Puts raw bytes in their envelope, compressed when that makes them smaller. */
export function packBlock(raw: Buffer): Buffer {
  const compressed = compressSync(raw);
  const smaller = compressed.length < raw.length;
  const payload = smaller ? compressed : raw;
  const packed = Buffer.allocUnsafe(ENVELOPE_BYTES + payload.length);
  packed.writeUInt32LE(raw.length, 4);
  packed.writeUInt32LE(smaller ? 1 : 0, 8);
  payload.copy(packed, ENVELOPE_BYTES);
  packed.writeUInt32LE(crc32c(packed.subarray(4)), 0);
  return packed;
}

/** Checks and opens an envelope. Throws `CorruptLayer`. */
export function unpackBlock(packed: Buffer): Buffer {
  if (packed.length < ENVELOPE_BYTES) throw new CorruptLayer(`block of ${packed.length} bytes`);
  const crc = crc32c(packed.subarray(4));
  if (crc !== packed.readUInt32LE(0)) throw new CorruptLayer(`block with wrong checksum`);
  const size = packed.readUInt32LE(4);
  const payload = packed.subarray(ENVELOPE_BYTES);
  const codec = packed[8];
  if (size > MAX_RAW_BYTES) throw new CorruptLayer(`block of ${size} raw bytes`);
  if (codec === 0 && payload.length === size) return payload;
  if (codec === 1 && payload.length >= 4 && payload.readUInt32LE(0) === size) {
    try {
      return uncompressSync(payload);
    } catch (error) {
      throw new CorruptLayer(`block does not decompress: ${(error as Error).message}`);
    }
  }
  throw new CorruptLayer(`block of codec ${codec}, ${payload.length} of ${size} bytes`);
}

/** A version in a block. */
export interface BlockEntry {
  readonly key: PageKey;
  readonly lsn: LsnNumber;
  readonly tag: number;
  readonly bytes: Buffer;
}

/** An unpacked block. Reading it allocates nothing but the views that are asked for. */
export class LayerBlock {
  readonly raw: Buffer;
  readonly count: number;
  readonly #values: number;

  constructor(raw: Buffer) {
    this.raw = raw;
    this.count = raw.length < COUNT_BYTES ? 0 : raw.readUInt32LE(0);
    this.#values = COUNT_BYTES + this.count * ENTRY_BYTES;
    if (this.count === 0 || this.#values > raw.length || this.#values + this.#end(this.count - 1) !== raw.length) {
      throw new CorruptLayer(`block of ${raw.length} bytes with ${this.count} entries`);
    }
  }

  /** Index of the first entry at or after (key, lsn); `count` when there is none. */
  lowerBound(key: Buffer, lsn: LsnNumber): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = this.compareKey(middle, key);
      if (order < 0 || (order === 0 && this.lsn(middle) < lsn)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Negative, zero, positive as the entry's key is below, at, above `key`. */
  compareKey(index: number, key: Buffer): number {
    const at = COUNT_BYTES + index * ENTRY_BYTES;
    return this.raw.compare(key, 0, PAGE_KEY_BYTES, at, at + PAGE_KEY_BYTES);
  }

  key(index: number): PageKey {
    const at = COUNT_BYTES + index * ENTRY_BYTES;
    return this.raw.toString('latin1', at, at + PAGE_KEY_BYTES) as PageKey;
  }

  lsn(index: number): LsnNumber {
    return readLsn(this.raw, COUNT_BYTES + index * ENTRY_BYTES + 24);
  }

  tag(index: number): number {
    return this.raw[COUNT_BYTES + index * ENTRY_BYTES + PAGE_KEY_BYTES]!;
  }

  /** A view of the value; it keeps the block in memory. */
  bytes(index: number): Buffer {
    const start = this.#values + (index === 0 ? 0 : this.#end(index - 1));
    const end = this.#values + this.#end(index);
    if (start > end || end > this.raw.length) throw new CorruptLayer(`entry ${index} spans ${start} to ${end}`);
    return this.raw.subarray(start, end);
  }

  entry(index: number): BlockEntry {
    return { key: this.key(index), lsn: this.lsn(index), tag: this.tag(index), bytes: this.bytes(index) };
  }

  #end(index: number): number {
    return this.raw.readUInt32LE(COUNT_BYTES + index * ENTRY_BYTES + 20);
  }
}

/** Collects entries of one block, in order. */
export class BlockWriter {
  #table: Buffer = Buffer.allocUnsafe(ENTRY_BYTES * 64);
  #values: Buffer = Buffer.allocUnsafe(64 * 1024);
  #count = 0;
  #length = 0;

  get count(): number {
    return this.#count;
  }

  /** Raw bytes so far. */
  get size(): number {
    return COUNT_BYTES + this.#count * ENTRY_BYTES + this.#length;
  }

  add(key: PageKey, lsn: LsnNumber, tag: number, bytes: Buffer): void {
    const at = this.#count * ENTRY_BYTES;
    if (at === this.#table.length) this.#table = grow(this.#table, at * 2);
    if (this.#length + bytes.length > this.#values.length) {
      this.#values = grow(this.#values, Math.max(this.#values.length * 2, this.#length + bytes.length));
    }
    const table = this.#table;
    table.write(key, at, PAGE_KEY_BYTES, 'latin1');
    bytes.copy(this.#values, this.#length);
    this.#length += bytes.length;
    table[at + 18] = tag;
    table[at + 19] = 0;
    table.writeUInt32LE(this.#length, at + 20);
    writeLsn(table, at + 24, lsn);
    this.#count += 1;
  }

  /** The raw block; the writer is empty afterwards. */
  take(): Buffer {
    const raw = Buffer.allocUnsafe(this.size);
    raw.writeUInt32LE(this.#count, 0);
    this.#table.copy(raw, COUNT_BYTES, 0, this.#count * ENTRY_BYTES);
    this.#values.copy(raw, COUNT_BYTES + this.#count * ENTRY_BYTES, 0, this.#length);
    this.#count = 0;
    this.#length = 0;
    return raw;
  }
}

function grow(bytes: Buffer, size: number): Buffer {
  const larger = Buffer.allocUnsafe(size);
  bytes.copy(larger);
  return larger;
}
