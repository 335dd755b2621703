import { CoppiceError } from '@coppice/service-kit';
import { formatLsn, type Lsn } from '@coppice/vocabulary';

interface Chunk {
  readonly start: bigint;
  readonly end: bigint;
  readonly bytes: Buffer;
}

/**
 * The newest WAL of a compute, held for safekeepers that are behind: a queue of the chunks as they came from PostgreSQL,
 * contiguous from `from` to `to`. Slices within one chunk are not copied.
 */
export class WalWindow {
  readonly #chunks: Chunk[] = [];
  #from: bigint;
  #to: bigint;

  constructor(start: Lsn) {
    this.#from = start;
    this.#to = start;
  }

  get from(): Lsn {
    return this.#from as Lsn;
  }
  get to(): Lsn {
    return this.#to as Lsn;
  }

  /** Adds the next bytes. Throws when they do not begin where the last ended. */
  push(start: Lsn, bytes: Buffer): void {
    if (start !== this.#to) {
      throw new CoppiceError('Corrupt', 'wal-gap', `postgres sent WAL from ${formatLsn(start)} after ${formatLsn(this.to)}`);
    }
    const end = start + BigInt(bytes.length);
    this.#chunks.push({ start, end, bytes });
    this.#to = end;
  }

  /** The bytes [begin, end), which must lie within the window. */
  slice(begin: Lsn, end: Lsn): Buffer {
    if (begin < this.#from || end > this.#to || begin > end) {
      throw new RangeError(`[${formatLsn(begin)}, ${formatLsn(end)}) is not within [${formatLsn(this.from)}, ${formatLsn(this.to)})`);
    }
    if (begin === end) return Buffer.alloc(0);
    const parts: Buffer[] = [];
    for (let i = this.#indexOf(begin); i < this.#chunks.length && this.#chunks[i]!.start < end; i++) {
      const { start, end: chunkEnd, bytes } = this.#chunks[i]!;
      parts.push(bytes.subarray(begin > start ? Number(begin - start) : 0, end < chunkEnd ? Number(end - start) : bytes.length));
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }

  /** Drops whole chunks that end at or before `position`. */
  dropBelow(position: Lsn): void {
    let count = 0;
    while (count < this.#chunks.length && this.#chunks[count]!.end <= position) count++;
    if (count === 0) return;
    this.#from = this.#chunks[count - 1]!.end;
    this.#chunks.splice(0, count);
  }

  /** The chunk that holds `position`, by bisection. */
  #indexOf(position: bigint): number {
    let low = 0;
    let high = this.#chunks.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#chunks[middle]!.end <= position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
