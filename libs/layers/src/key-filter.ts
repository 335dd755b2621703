/**
 * Says which keys a layer surely does not have (a Bloom filter), so that reads skip it without fetching a block. Ten
 * bits and seven probes a key: one false answer in a hundred. The bits of a key are part of the file format.
 */
import type { PageKey } from '@coppice/vocabulary';
import { PAGE_KEY_BYTES } from '@coppice/vocabulary';

const BITS_PER_KEY = 10;
const PROBES = 7;

/** FNV-1a over the key's bytes, finished as in MurmurHash3. */
function hashOf(key: PageKey): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < PAGE_KEY_BYTES; at += 1) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function stepOf(hash: number): number {
  return ((Math.imul(hash, 0x9e3779b1) >>> 7) | 1) >>> 0;
}

/** Collects keys; `finish` makes the filter's bits. */
export class KeyFilterWriter {
  #hashes = new Uint32Array(256);
  #count = 0;

  add(key: PageKey): void {
    if (this.#count === this.#hashes.length) {
      const larger = new Uint32Array(this.#count * 2);
      larger.set(this.#hashes);
      this.#hashes = larger;
    }
    this.#hashes[this.#count] = hashOf(key);
    this.#count += 1;
  }

  finish(): Buffer {
    const bits = Buffer.alloc(Math.max(8, Math.ceil((this.#count * BITS_PER_KEY) / 8)));
    const size = bits.length * 8;
    for (let i = 0; i < this.#count; i += 1) {
      const hash = this.#hashes[i]!;
      const step = stepOf(hash);
      for (let probe = 0; probe < PROBES; probe += 1) {
        const bit = (hash + probe * step) % size;
        bits[bit >>> 3]! |= 1 << (bit & 7);
      }
    }
    return bits;
  }
}

/** False only when the key was never added to the filter. */
export function mayContain(filter: Buffer, key: PageKey): boolean {
  const size = filter.length * 8;
  const hash = hashOf(key);
  const step = stepOf(hash);
  for (let probe = 0; probe < PROBES; probe += 1) {
    const bit = (hash + probe * step) % size;
    if ((filter[bit >>> 3]! & (1 << (bit & 7))) === 0) return false;
  }
  return true;
}
