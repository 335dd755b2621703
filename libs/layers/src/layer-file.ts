/**
 * A layer as one immutable object: versions of pages and other values, sorted by (key, LSN), readable by range.
 *
 *   ┌────────┬─────────┬───┬─────────┬───────┬────────┬────────┐
 *   │ header │ block 0 │ … │ block n │ index │ filter │ footer │
 *   │  16 B  │         │   │         │       │        │  40 B  │
 *   └────────┴─────────┴───┴─────────┴───────┴────────┴────────┘
 *   header  "CPLY" · version u16le · kind u8 (1 delta, 2 image) · zeros
 *   block   about 32 KiB raw; blocks, index and filter stand in the envelope drawn in layer-block.ts
 *   index   count u32le, then per block: first key 18 · first LSN u64le · offset u48le · stored length u32le
 *   filter  which keys the layer surely does not have: key-filter.ts
 *   footer  offset of index u64le · its length u32le · filter's length u32le · entries u64le · value bytes u64le
 *           · crc-32c of the footer before it u32le · "CPLY"
 *
 * A cold read fetches the tail (index and filter) and then only the blocks it needs. A delta layer holds what changed in
 * a range of LSNs; an image layer holds every key of its key range as of one LSN: a key it lacks does not exist there.
 */
import { crc32c } from '@coppice/bytes';
import type { LsnNumber, PageKey } from '@coppice/vocabulary';
import { PAGE_KEY_BYTES } from '@coppice/vocabulary';
import { CorruptLayer } from './corrupt-layer';
import { BlockWriter, packBlock, readLsn, unpackBlock, writeLsn } from './layer-block';
import { KeyFilterWriter, mayContain } from './key-filter';

export type LayerKind = 'delta' | 'image';

const MAGIC = 0x594c5043; // "CPLY"
const VERSION = 1;
const HEADER_BYTES = 16;
export const FOOTER_BYTES = 40;
const INDEX_ENTRY_BYTES = 36;
/** Raw bytes after which a block is closed. */
const BLOCK_BYTES = 32 * 1024;
/** What a file has room for at least; its index and filter are some hundredths of it. */
const SMALLEST_ROOM = 64 * 1024;

/** Where a block stands in its file. */
export interface BlockPlace {
  readonly offset: number;
  readonly length: number;
}

/** Writes a layer's bytes from entries in (key, LSN) order. */
export class LayerFileWriter {
  #file: Buffer;
  readonly #block = new BlockWriter();
  readonly #filter = new KeyFilterWriter();
  #index = Buffer.alloc(INDEX_ENTRY_BYTES * 64);
  #blocks = 0;
  #offset = 0;
  #entries = 0;
  #valueBytes = 0;
  #firstKey: PageKey | undefined;
  #lastKey: PageKey | undefined;
  #lastLsn = 0;

  /**
   * `expectedBytes`: about how long the file becomes. It grows when that was too little, for which all of it is copied; what was
   * too much is never touched, but V8 counts it.
   */
  constructor(kind: LayerKind, expectedBytes: number) {
    this.#file = Buffer.allocUnsafeSlow(SMALLEST_ROOM + Math.ceil(expectedBytes * 1.05));
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32LE(MAGIC, 0);
    header.writeUInt16LE(VERSION, 4);
    header[6] = kind === 'delta' ? 1 : 2;
    this.#push(header);
  }

  /** Bytes of the file so far, without the block under way. */
  get size(): number {
    return this.#offset;
  }
  get entries(): number {
    return this.#entries;
  }
  get firstKey(): PageKey | undefined {
    return this.#firstKey;
  }
  get lastKey(): PageKey | undefined {
    return this.#lastKey;
  }

  /** Adds a version; `tag` is its `valueTag`. Throws `RangeError` when it does not come after the one before. */
  add(key: PageKey, lsn: LsnNumber, tag: number, bytes: Buffer): void {
    const last = this.#lastKey;
    if (last === undefined || key !== last) {
      if (last !== undefined && key < last) throw new RangeError('layer entries must come in the order of their keys');
      this.#filter.add(key);
      this.#firstKey ??= key;
      this.#lastKey = key;
    } else if (lsn <= this.#lastLsn) throw new RangeError('layer entries of one key must come in the order of their LSNs');
    this.#lastLsn = lsn;
    if (this.#block.count > 0 && this.#block.size + bytes.length > BLOCK_BYTES) this.#endBlock();
    if (this.#block.count === 0) this.#beginBlock(key, lsn);
    this.#block.add(key, lsn, tag, bytes);
    this.#entries += 1;
    this.#valueBytes += bytes.length;
  }

  /** The whole file; the writer is done. */
  finish(): Buffer {
    if (this.#block.count > 0) this.#endBlock();
    const raw = Buffer.allocUnsafe(4 + this.#blocks * INDEX_ENTRY_BYTES);
    raw.writeUInt32LE(this.#blocks, 0);
    this.#index.copy(raw, 4, 0, this.#blocks * INDEX_ENTRY_BYTES);
    const indexOffset = this.#offset;
    const index = packBlock(raw);
    const filter = packBlock(this.#filter.finish());
    const footer = Buffer.alloc(FOOTER_BYTES);
    writeLsn(footer, 0, indexOffset);
    footer.writeUInt32LE(index.length, 8);
    footer.writeUInt32LE(filter.length, 12);
    writeLsn(footer, 16, this.#entries);
    writeLsn(footer, 24, this.#valueBytes);
    footer.writeUInt32LE(crc32c(footer.subarray(0, 32)), 32);
    footer.writeUInt32LE(MAGIC, 36);
    for (const part of [index, filter, footer]) this.#push(part);
    return this.#file.subarray(0, this.#offset);
  }

  #beginBlock(key: PageKey, lsn: LsnNumber): void {
    const at = this.#blocks * INDEX_ENTRY_BYTES;
    if (at === this.#index.length) {
      const larger = Buffer.alloc(at * 2);
      this.#index.copy(larger);
      this.#index = larger;
    }
    this.#index.write(key, at, PAGE_KEY_BYTES, 'latin1');
    writeLsn(this.#index, at + 18, lsn);
    this.#index.writeUIntLE(this.#offset, at + 26, 6);
  }

  #endBlock(): void {
    const packed = packBlock(this.#block.take());
    this.#index.writeUInt32LE(packed.length, this.#blocks * INDEX_ENTRY_BYTES + 32);
    this.#blocks += 1;
    this.#push(packed);
  }

  #push(part: Buffer): void {
    const end = this.#offset + part.length;
    if (end > this.#file.length) {
      const larger = Buffer.allocUnsafeSlow(2 * end);
      this.#file.copy(larger, 0, 0, this.#offset);
      this.#file = larger;
    }
    part.copy(this.#file, this.#offset);
    this.#offset = end;
  }
}

/** Where index and filter stand, from the last `FOOTER_BYTES` of a file of `size` bytes. Throws `CorruptLayer`. */
export function parseFooter(footer: Buffer, size: number): BlockPlace {
  if (footer.length !== FOOTER_BYTES || footer.readUInt32LE(36) !== MAGIC) throw new CorruptLayer('no footer at the end of the file');
  if (crc32c(footer.subarray(0, 32)) !== footer.readUInt32LE(32)) throw new CorruptLayer('footer with wrong checksum');
  const offset = readLsn(footer, 0);
  const length = footer.readUInt32LE(8) + footer.readUInt32LE(12);
  if (offset < HEADER_BYTES || offset + length + FOOTER_BYTES !== size) throw new CorruptLayer('footer does not fit the file');
  return { offset, length };
}

/** A layer's index and filter, in memory: which blocks may hold a key. */
export class LayerIndex {
  readonly #count: number;
  readonly #raw: Buffer;
  readonly #filter: Buffer;
  readonly #keys: PageKey[];

  /** `tail` is what `parseFooter` pointed at; `footer` the bytes it was given. */
  constructor(tail: Buffer, footer: Buffer) {
    const indexLength = footer.readUInt32LE(8);
    this.#raw = unpackBlock(tail.subarray(0, indexLength));
    this.#filter = unpackBlock(tail.subarray(indexLength));
    this.#count = this.#raw.length < 4 ? -1 : this.#raw.readUInt32LE(0);
    if (this.#raw.length !== 4 + this.#count * INDEX_ENTRY_BYTES) throw new CorruptLayer(`index of ${this.#raw.length} bytes`);
    this.#keys = Array.from({ length: this.#count }, (_, block) => {
      const at = 4 + block * INDEX_ENTRY_BYTES;
      return this.#raw.toString('latin1', at, at + PAGE_KEY_BYTES) as PageKey;
    });
  }

  get blockCount(): number {
    return this.#count;
  }
  /** About what this index costs, bytes. */
  get memory(): number {
    return this.#raw.length + this.#filter.length + this.#count * 48;
  }

  mayContain(key: PageKey): boolean {
    return mayContain(this.#filter, key);
  }

  firstKey(block: number): PageKey {
    return this.#keys[block]!;
  }

  place(block: number): BlockPlace {
    const at = 4 + block * INDEX_ENTRY_BYTES;
    return { offset: this.#raw.readUIntLE(at + 26, 6), length: this.#raw.readUInt32LE(at + 32) };
  }

  /** The last block that may hold a version of `key` at or below `lsn`; -1 when none can. */
  lastBlockFor(key: PageKey, lsn: LsnNumber): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const first = this.#keys[middle]!;
      if (first < key || (first === key && readLsn(this.#raw, 4 + middle * INDEX_ENTRY_BYTES + 18) <= lsn)) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** The first block that may hold keys at or after `key`. */
  firstBlockAtOrAfter(key: PageKey): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#keys[middle]! < key) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }
}
