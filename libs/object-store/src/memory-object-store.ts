import type { Clock } from '@coppice/service-kit';
import { systemClock } from '@coppice/service-kit';
import { checkKey, objectExists, objectNotFound, rangeNotSatisfiable } from './object-key';
import type { ByteRange, FolderPage, ListRequest, ObjectInfo, ObjectPage, ObjectStore, PutOptions } from './object-store';
import { LIST_LIMIT } from './object-store';

/** Objects in this process's memory: for tests and simulations. Nothing survives the process. */
export class MemoryObjectStore implements ObjectStore {
  readonly #objects = new Map<string, { readonly bytes: Buffer; readonly modifiedUnixMs: number }>();
  readonly #clock: Clock;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  async put(key: string, bytes: Uint8Array, { ifAbsent = false, signal }: PutOptions = {}): Promise<void> {
    checkKey(key);
    signal?.throwIfAborted();
    if (ifAbsent && this.#objects.has(key)) throw objectExists(key);
    this.#objects.set(key, { bytes: Buffer.from(bytes), modifiedUnixMs: this.#clock.now() });
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
    return this.#infoOf(key);
  }

  async list({ prefix, after = '', limit = LIST_LIMIT }: ListRequest, signal?: AbortSignal): Promise<ObjectPage> {
    signal?.throwIfAborted();
    const keys = [...this.#objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
    const objects = keys.slice(0, limit).map((key) => this.#infoOf(key)!);
    return { objects, truncated: keys.length > limit };
  }

  async listFolders({ prefix, after = '', limit = LIST_LIMIT }: ListRequest, signal?: AbortSignal): Promise<FolderPage> {
    signal?.throwIfAborted();
    const rests = [...this.#objects.keys()].filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));
    const names = new Set(rests.filter((rest) => rest.includes('/')).map((rest) => rest.slice(0, rest.indexOf('/') + 1)));
    const folders = [...names].sort().map((name) => name.slice(0, -1)).filter((name) => after === '' || `${name}/` > `${after}/`);
    return { folders: folders.slice(0, limit), truncated: folders.length > limit };
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
    const object = this.#objects.get(key);
    if (!object) throw objectNotFound(key);
    return object.bytes;
  }

  #infoOf(key: string): ObjectInfo | undefined {
    const object = this.#objects.get(key);
    return object && { key, size: object.bytes.length, modifiedUnixMs: object.modifiedUnixMs };
  }
}
