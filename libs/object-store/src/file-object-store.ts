/**
 * Objects as files under one directory: key `a/b/c` is the file `a/b/c`. A new object is written to `.tmp/`, fsynced
 * and then renamed (or, when it must be absent, hard-linked) into place, and its directory is fsynced: whole or absent
 * after any crash. Keys cannot start a segment with a dot, so `.tmp` is never one.
 */
import { randomUUID } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { link, mkdir, open, readdir, readFile, rename, rm, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncDirectory } from '@coppice/service-kit';
import { checkKey, objectExists, objectNotFound, rangeNotSatisfiable, storeUnavailable } from './object-key';
import type { ByteRange, FolderPage, ListRequest, ObjectInfo, ObjectPage, ObjectStore, PutOptions } from './object-store';
import { LIST_LIMIT } from './object-store';

const TEMPORARY = '.tmp';
const PLACE_ATTEMPTS = 20;

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

export class FileObjectStore implements ObjectStore {
  readonly #root: string;
  /** Directories known to exist durably. */
  readonly #directories = new Set<string>();

  private constructor(root: string) {
    this.#root = root;
  }

  /** Opens the directory, making it when absent, and drops what puts left unfinished. */
  static async open(root: string): Promise<FileObjectStore> {
    await mkdir(root, { recursive: true, mode: 0o700 });
    await rm(join(root, TEMPORARY), { recursive: true, force: true });
    await mkdir(join(root, TEMPORARY), { mode: 0o700 });
    await syncDirectory(root);
    return new FileObjectStore(root);
  }

  async put(key: string, bytes: Uint8Array, { ifAbsent = false, signal }: PutOptions = {}): Promise<void> {
    checkKey(key);
    signal?.throwIfAborted();
    const path = join(this.#root, key);
    const temporary = join(this.#root, TEMPORARY, randomUUID());
    try {
      const handle = await open(temporary, 'wx', 0o600);
      try {
        await handle.writeFile(bytes, { signal });
        await handle.sync();
      } finally {
        await handle.close();
      }
      await this.#place(temporary, path, ifAbsent);
    } catch (error) {
      if (codeOf(error) === 'EEXIST' && ifAbsent) throw objectExists(key, error);
      if (signal?.aborted) throw signal.reason;
      throw storeUnavailable(`writing object ${key} fails`, error);
    } finally {
      await rm(temporary, { force: true });
    }
  }

  async get(key: string, signal?: AbortSignal): Promise<Buffer> {
    checkKey(key);
    try {
      return await readFile(join(this.#root, key), { signal });
    } catch (error) {
      throw this.#readError(key, error, signal);
    }
  }

  async getRange(key: string, { offset, length }: ByteRange, signal?: AbortSignal): Promise<Buffer> {
    checkKey(key);
    signal?.throwIfAborted();
    try {
      const handle = await open(join(this.#root, key), 'r');
      try {
        const bytes = Buffer.allocUnsafe(length);
        let filled = 0;
        while (filled < length) {
          const { bytesRead } = await handle.read(bytes, filled, length - filled, offset + filled);
          if (bytesRead === 0) break;
          filled += bytesRead;
        }
        if (filled === 0 && length > 0) throw rangeNotSatisfiable(key, offset);
        return bytes.subarray(0, filled);
      } finally {
        await handle.close();
      }
    } catch (error) {
      throw this.#readError(key, error, signal);
    }
  }

  async head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    checkKey(key);
    signal?.throwIfAborted();
    try {
      const found = await stat(join(this.#root, key));
      return found.isFile() ? { key, size: found.size, modifiedUnixMs: Math.floor(found.mtimeMs) } : undefined;
    } catch (error) {
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
      throw storeUnavailable(`looking for object ${key} fails`, error);
    }
  }

  async list({ prefix, after = '', limit = LIST_LIMIT }: ListRequest, signal?: AbortSignal): Promise<ObjectPage> {
    const objects: ObjectInfo[] = [];
    const slash = prefix.lastIndexOf('/');
    for await (const key of this.#walk(prefix.slice(0, slash + 1), prefix, after, signal)) {
      if (objects.length === limit) return { objects, truncated: true };
      const info = await this.head(key, signal);
      if (info) objects.push(info);
    }
    return { objects, truncated: false };
  }

  async listFolders({ prefix, after = '', limit = LIST_LIMIT }: ListRequest, signal?: AbortSignal): Promise<FolderPage> {
    signal?.throwIfAborted();
    const entries = await readdir(join(this.#root, prefix), { withFileTypes: true }).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return [];
      throw storeUnavailable(`listing folders of ${prefix} fails`, error);
    });
    const names = entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith('.')).map((entry) => `${entry.name}/`);
    const folders = names.sort().filter((name) => after === '' || name > `${after}/`).map((name) => name.slice(0, -1));
    return { folders: folders.slice(0, limit), truncated: folders.length > limit };
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    checkKey(key);
    signal?.throwIfAborted();
    const path = join(this.#root, key);
    try {
      await unlink(path);
      await syncDirectory(dirname(path));
      await this.#removeEmptyDirectories(dirname(path));
    } catch (error) {
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return;
      throw storeUnavailable(`deleting object ${key} fails`, error);
    }
  }

  async deleteMany(keys: readonly string[], signal?: AbortSignal): Promise<void> {
    for (const key of keys) await this.delete(key, signal);
  }

  /** Keys below `directory` (ending in `/`, or empty) in byte order; `/` sorts a directory among its siblings' names. */
  async *#walk(directory: string, prefix: string, after: string, signal: AbortSignal | undefined): AsyncGenerator<string> {
    signal?.throwIfAborted();
    let entries: Dirent[];
    try {
      entries = await readdir(join(this.#root, directory), { withFileTypes: true });
    } catch (error) {
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return;
      throw storeUnavailable(`listing objects under ${directory} fails`, error);
    }
    const names = entries
      .filter((entry) => !entry.name.startsWith('.'))
      .map((entry) => directory + entry.name + (entry.isDirectory() ? '/' : ''))
      .sort();
    for (const name of names) {
      const mayMatch = name.startsWith(prefix) || (name.endsWith('/') && prefix.startsWith(name));
      if (!mayMatch) continue;
      if (!name.endsWith('/')) {
        if (name > after) yield name;
      } else if (name > after || after.startsWith(name)) {
        yield* this.#walk(name, prefix, after, signal);
      }
    }
  }

  /** Moves a finished file to its place; a directory that a delete removes in between is made again. */
  async #place(temporary: string, path: string, ifAbsent: boolean): Promise<void> {
    const directory = dirname(path);
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#makeDirectory(directory);
        if (ifAbsent) await link(temporary, path);
        else await rename(temporary, path);
        return await syncDirectory(directory);
      } catch (error) {
        if (codeOf(error) !== 'ENOENT' || attempt === PLACE_ATTEMPTS) throw error;
        this.#directories.clear();
      }
    }
  }

  /** A directory without files is no object's; what is put into it meanwhile keeps it. */
  async #removeEmptyDirectories(directory: string): Promise<void> {
    for (let at = directory; at !== this.#root; at = dirname(at)) {
      this.#directories.delete(at);
      try {
        await rmdir(at);
      } catch (error) {
        if (['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(codeOf(error) ?? '')) return;
        throw error;
      }
    }
  }

  async #makeDirectory(directory: string): Promise<void> {
    if (directory === this.#root || this.#directories.has(directory)) return;
    const parent = dirname(directory);
    await this.#makeDirectory(parent);
    await mkdir(directory, { mode: 0o700 }).catch((error: unknown) => {
      if (codeOf(error) !== 'EEXIST') throw error;
    });
    await syncDirectory(parent);
    if (this.#directories.size >= 10_000) this.#directories.clear();
    this.#directories.add(directory);
  }

  #readError(key: string, error: unknown, signal: AbortSignal | undefined): unknown {
    if (signal?.aborted) return signal.reason;
    if (['ENOENT', 'ENOTDIR', 'EISDIR'].includes(codeOf(error) ?? '')) return objectNotFound(key, error);
    if ((error as Error).name === 'Invalid') return error;
    return storeUnavailable(`reading object ${key} fails`, error);
  }
}
