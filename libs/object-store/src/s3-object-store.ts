/**
 * Objects in a bucket of an S3-compatible service (Amazon S3, Ceph RADOS gateway). Every call has a deadline and a bounded
 * number of attempts. A conditional put is sent once only: after a lost answer a second try would find our own object
 * and report somebody else's.
 */
import type { S3ClientConfig } from '@aws-sdk/client-s3';
import {
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { withDeadline } from '@coppice/service-kit';
import { checkKey, objectExists, objectNotFound, rangeNotSatisfiable, storeUnavailable } from './object-key';
import type { ByteRange, FolderPage, ListRequest, ObjectInfo, ObjectPage, ObjectStore, PutOptions } from './object-store';
import { LIST_LIMIT } from './object-store';

export interface S3Options {
  readonly bucket: string;
  /** Put before every key, with its closing slash; empty for the whole bucket. */
  readonly prefix?: string;
  readonly region?: string;
  /** Absent: Amazon's own. */
  readonly endpoint?: string;
  /** `endpoint/bucket/key` instead of `bucket.endpoint/key`. */
  readonly pathStyle?: boolean;
  /** Absent: found as the AWS tools find them (environment, profile, instance role). */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

const ATTEMPTS = 4;
const CONNECT_TIMEOUT_MS = 3_000;
const DEADLINE_MS = 30_000;
/** On top of the deadline for an object of many bytes: time per MiB. */
const DEADLINE_MS_PER_MIB = 500;
const DELETE_BATCH = 1000;

export class S3ObjectStore implements ObjectStore {
  readonly #client: S3Client;
  readonly #once: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;

  constructor({ bucket, prefix = '', region = 'us-east-1', endpoint, pathStyle = false, credentials }: S3Options) {
    const config: S3ClientConfig = {
      region,
      forcePathStyle: pathStyle,
      // Not every S3-compatible service knows the newer checksums; layers and manifests carry their own.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: { connectionTimeout: CONNECT_TIMEOUT_MS, requestTimeout: DEADLINE_MS },
      ...(endpoint ? { endpoint } : {}),
      ...(credentials ? { credentials } : {}),
    };
    this.#client = new S3Client({ ...config, maxAttempts: ATTEMPTS });
    this.#once = new S3Client({ ...config, maxAttempts: 1 });
    this.#bucket = bucket;
    this.#prefix = prefix;
  }

  /** Closes idle connections. */
  close(): void {
    this.#client.destroy();
    this.#once.destroy();
  }

  async put(key: string, bytes: Uint8Array, { ifAbsent = false, signal }: PutOptions = {}): Promise<void> {
    const command = new PutObjectCommand({ ...this.#named(key), Body: bytes, ContentLength: bytes.length, ...(ifAbsent ? { IfNoneMatch: '*' } : {}) });
    await this.#call(`writing object ${key}`, key, signal, (abortSignal) => (ifAbsent ? this.#once : this.#client).send(command, { abortSignal }), bytes.length);
  }

  async get(key: string, signal?: AbortSignal): Promise<Buffer> {
    return this.#read(key, undefined, signal);
  }

  async getRange(key: string, { offset, length }: ByteRange, signal?: AbortSignal): Promise<Buffer> {
    if (length === 0) return Buffer.alloc(0);
    return this.#read(key, { offset, length }, signal);
  }

  async head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    try {
      const command = new HeadObjectCommand(this.#named(key));
      const { ContentLength = 0, LastModified } = await this.#call(`looking for object ${key}`, key, signal, (abortSignal) => this.#client.send(command, { abortSignal }));
      return { key, size: ContentLength, modifiedUnixMs: LastModified?.getTime() ?? 0 };
    } catch (error) {
      if ((error as { code?: string }).code === 'object-not-found') return undefined;
      throw error;
    }
  }

  async list({ prefix, after, limit = LIST_LIMIT }: ListRequest, signal?: AbortSignal): Promise<ObjectPage> {
    const command = new ListObjectsV2Command({
      Bucket: this.#bucket,
      Prefix: this.#prefix + prefix,
      MaxKeys: limit,
      ...(after === undefined ? {} : { StartAfter: this.#prefix + after }),
    });
    const page = await this.#call(`listing objects under ${prefix}`, prefix, signal, (abortSignal) => this.#client.send(command, { abortSignal }));
    const objects = (page.Contents ?? []).map(({ Key = '', Size = 0, LastModified }) => ({
      key: Key.slice(this.#prefix.length),
      size: Size,
      modifiedUnixMs: LastModified?.getTime() ?? 0,
    }));
    return { objects, truncated: page.IsTruncated ?? false };
  }

  async listFolders({ prefix, after, limit = LIST_LIMIT }: ListRequest, signal?: AbortSignal): Promise<FolderPage> {
    const folders: string[] = [];
    const below = this.#prefix + prefix;
    // '0' is the character behind '/': no key of the folder `after` comes later.
    let startAfter = after === undefined || after === '' ? undefined : `${below}${after}0`;
    for (;;) {
      const command = new ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: below,
        Delimiter: '/',
        MaxKeys: limit,
        ...(startAfter === undefined ? {} : { StartAfter: startAfter }),
      });
      const page = await this.#call(`listing folders of ${prefix}`, prefix, signal, (abortSignal) => this.#client.send(command, { abortSignal }));
      // Not every service leaves out the folder that a start falls into.
      const names = (page.CommonPrefixes ?? []).map(({ Prefix = '' }) => Prefix.slice(below.length, -1)).filter((name) => after === undefined || after === '' || `${name}/` > `${after}/`);
      folders.push(...names);
      if (folders.length > limit) return { folders: folders.slice(0, limit), truncated: true };
      if (!page.IsTruncated) return { folders, truncated: false };
      // A page counts plain objects too: it may be full of them.
      const lastFolder = page.CommonPrefixes?.at(-1)?.Prefix;
      const lastKey = page.Contents?.at(-1)?.Key;
      const next = [lastFolder && `${lastFolder.slice(0, -1)}0`, lastKey].filter((name) => name !== undefined).sort().at(-1);
      if (next === undefined || folders.length === limit) return { folders, truncated: true };
      startAfter = next;
    }
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    const command = new DeleteObjectCommand(this.#named(key));
    await this.#call(`deleting object ${key}`, key, signal, (abortSignal) => this.#client.send(command, { abortSignal }));
  }

  async deleteMany(keys: readonly string[], signal?: AbortSignal): Promise<void> {
    for (let at = 0; at < keys.length; at += DELETE_BATCH) {
      const batch = [...new Set(keys.slice(at, at + DELETE_BATCH))];
      const Objects = batch.map((key) => ({ Key: this.#named(key).Key }));
      const command = new DeleteObjectsCommand({ Bucket: this.#bucket, Delete: { Objects, Quiet: true } });
      const { Errors } = await this.#call('deleting objects', batch[0]!, signal, (abortSignal) => this.#client.send(command, { abortSignal }));
      const failed = Errors?.find((e) => e.Code !== 'NoSuchKey');
      if (failed) throw storeUnavailable(`deleting object ${failed.Key}`, new Error(failed.Message ?? failed.Code));
    }
  }

  /** The answer's body can break off after the headers, which the client does not try again by itself. */
  async #read(key: string, range: ByteRange | undefined, signal: AbortSignal | undefined): Promise<Buffer> {
    const Range = range && `bytes=${range.offset}-${range.offset + range.length - 1}`;
    const command = new GetObjectCommand({ ...this.#named(key), ...(Range ? { Range } : {}) });
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#call(`reading object ${key}`, key, signal, async (abortSignal) => {
          const { Body, ContentLength } = await this.#client.send(command, { abortSignal });
          const bytes = Body ? Buffer.from(await Body.transformToByteArray()) : Buffer.alloc(0);
          if (ContentLength !== undefined && bytes.length !== ContentLength) throw new Error(`${bytes.length} of ${ContentLength} bytes arrived`);
          return bytes;
        }, range?.length);
      } catch (error) {
        if (attempt === ATTEMPTS || signal?.aborted || (error as { kind?: string }).kind !== 'Unavailable') throw error;
      }
    }
  }

  #named(key: string): { readonly Bucket: string; readonly Key: string } {
    checkKey(key);
    return { Bucket: this.#bucket, Key: this.#prefix + key };
  }

  async #call<T>(what: string, key: string, signal: AbortSignal | undefined, send: (signal: AbortSignal) => Promise<T>, bytes = 0): Promise<T> {
    signal?.throwIfAborted();
    try {
      return await send(withDeadline(DEADLINE_MS + Math.ceil(bytes / 1048576) * DEADLINE_MS_PER_MIB, signal));
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      const { name, $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } };
      const status = $metadata?.httpStatusCode;
      if (status === 404 && name !== 'NoSuchBucket') throw objectNotFound(key, error);
      if (status === 412) throw objectExists(key, error);
      if (status === 416) throw rangeNotSatisfiable(key, 0, error);
      throw storeUnavailable(`${what} fails`, error);
    }
  }
}
