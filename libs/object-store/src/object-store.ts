/**
 * Object storage as a port: immutable objects under slash-separated keys, listed in byte order of their keys. An object
 * is there whole or not at all; once `put` has resolved, it survives a crash of this process and of the machine.
 */
export interface ObjectStore {
  /**
   * Stores an object, replacing one of the same key. With `ifAbsent` an existing object makes it fail with `Conflict`
   * `object-exists`, and of many such puts at once exactly one succeeds.
   */
  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<void>;

  /** The whole object. Fails with `NotFound` `object-not-found`. */
  get(key: string, signal?: AbortSignal): Promise<Buffer>;

  /**
   * Part of an object; shorter than asked when the object ends before. Fails with `NotFound`, and with `Invalid`
   * `range-not-satisfiable` when the range starts at or after the object's end.
   */
  getRange(key: string, range: ByteRange, signal?: AbortSignal): Promise<Buffer>;

  /** Size of an object; `undefined` when there is none. */
  head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined>;

  /** One page of the objects whose key starts with `prefix`, in byte order of their keys. */
  list(request: ListRequest, signal?: AbortSignal): Promise<ObjectPage>;

  /**
   * One page of the folders directly below `prefix` (which is empty or ends in a slash), in byte order: the names up to
   * the next slash of all keys that have one. Costs as much as the page has names, however many objects they hold.
   */
  listFolders(request: ListRequest, signal?: AbortSignal): Promise<FolderPage>;

  /** Removes an object; one that is not there is no error. */
  delete(key: string, signal?: AbortSignal): Promise<void>;

  /** Removes many objects; those that are not there are no error. */
  deleteMany(keys: readonly string[], signal?: AbortSignal): Promise<void>;
}

export interface PutOptions {
  readonly ifAbsent?: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

export interface ObjectInfo {
  readonly key: string;
  readonly size: number;
  /** When it was put, by the store's clock, milliseconds since the Unix epoch. */
  readonly modifiedUnixMs: number;
}

export interface ListRequest {
  readonly prefix: string;
  /** Only keys (folders) after this one; the last of the page before. */
  readonly after?: string | undefined;
  /** Objects in a page, 1 to 1000. */
  readonly limit?: number;
}

export interface ObjectPage {
  readonly objects: readonly ObjectInfo[];
  /** Whether more follow after the last one. */
  readonly truncated: boolean;
}

export interface FolderPage {
  /** Without the prefix and without a slash. */
  readonly folders: readonly string[];
  /** Whether more follow after the last one. */
  readonly truncated: boolean;
}

/** Objects in a page of a listing when the request does not say. */
export const LIST_LIMIT = 1000;

/** All objects under a prefix, page by page. */
export async function* listAll(store: ObjectStore, prefix: string, signal?: AbortSignal): AsyncIterable<ObjectInfo> {
  let after: string | undefined;
  for (;;) {
    const page: ObjectPage = await store.list({ prefix, after }, signal);
    yield* page.objects;
    after = page.objects.at(-1)?.key;
    if (!page.truncated || after === undefined) return;
  }
}
