import { checkKey, objectExists, objectNotFound, rangeNotSatisfiable } from './object-key';
import type { ByteRange, ListRequest, ObjectInfo, ObjectPage, ObjectStore, PutOptions } from './object-store';
import { LIST_LIMIT } from './object-store';

/** Objects in this process's memory: for tests and simulations. Nothing survives the process. */
export class MemoryObjectStore implements ObjectStore {
  readonly #objects = new Map<string, Buffer>();

  async put(key: string, bytes: Uint8Array, { ifAbsent = false, signal }: PutOptions = {}): Promise<void> {
    checkKey(key);
    signal?.throwIfAborted();
    if (ifAbsent && this.#objects.has(key)) throw objectExists(key);
    this.#objects.set(key, Buffer.from(bytes));
  }

  async get(key: string, signal?: AbortSignal): Promise<Buffer> {
    return Buffer.from(this.#find(key, signal));
  }

  async getRange(key: string, { offset, length }: ByteRange, signal?: AbortSignal): Promise<Buffer> {
    const bytes = this.#find(key, signal);
    if (offset >= bytes.length) throw rangeNotSatisfiable(key, offset);
    return Buffer.from(bytes.subarray(offset, offset + length));
  }

  async head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    checkKey(key);
    signal?.throwIfAborted();
    const bytes = this.#objects.get(key);
    return bytes && { key, size: bytes.length };
  }

  async list({ prefix, after = '', limit = LIST_LIMIT }: ListRequest, signal?: AbortSignal): Promise<ObjectPage> {
    signal?.throwIfAborted();
    const keys = [...this.#objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
    const objects = keys.slice(0, limit).map((key) => ({ key, size: this.#objects.get(key)!.length }));
    return { objects, truncated: keys.length > limit };
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    checkKey(key);
    signal?.throwIfAborted();
    this.#objects.delete(key);
  }

  async deleteMany(keys: readonly string[], signal?: AbortSignal): Promise<void> {
    for (const key of keys) await this.delete(key, signal);
  }

  #find(key: string, signal: AbortSignal | undefined): Buffer {
    checkKey(key);
    signal?.throwIfAborted();
    const bytes = this.#objects.get(key);
    if (!bytes) throw objectNotFound(key);
    return bytes;
  }
}
