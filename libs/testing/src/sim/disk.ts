import type { SeededRandom } from './random';

interface PendingWrite {
  readonly at: number;
  readonly bytes: Uint8Array;
}

/**
 * One file of a simulated disk. Writes are seen at once by readers and are durable after `sync`. A crash keeps any subset
 * of the writes since then, in any order, each perhaps torn at any byte; what was never written reads as zeros.
 */
export class SimFile {
  #seen: Uint8Array;
  #durable: Uint8Array;
  #pending: PendingWrite[] = [];

  constructor(size: number) {
    this.#seen = new Uint8Array(size);
    this.#durable = new Uint8Array(size);
  }

  /** The content as a reader sees it now; do not write to it. */
  get content(): Uint8Array {
    return this.#seen;
  }
  /** The content that survives any crash. */
  get durable(): Uint8Array {
    return this.#durable;
  }
  get dirty(): boolean {
    return this.#pending.length > 0;
  }

  write(at: number, bytes: Uint8Array): void {
    this.#seen.set(bytes, at);
    this.#pending.push({ at, bytes: bytes.slice() });
  }

  sync(): void {
    for (const { at, bytes } of this.#pending) this.#durable.set(bytes, at);
    this.#pending = [];
  }

  crash(random: SeededRandom): void {
    for (const { at, bytes } of this.#pending) {
      if (random.chance(0.5)) continue;
      const torn = random.chance(0.3);
      const from = torn ? random.between(0, bytes.length) : 0;
      const to = torn ? random.between(from, bytes.length) : bytes.length;
      this.#durable.set(bytes.subarray(from, to), at + from);
    }
    this.#pending = [];
    this.#seen = this.#durable.slice();
  }
}
