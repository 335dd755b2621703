/**
 * Which timelines were deleted here, for ever: no late message may make one of them anew. The ids stand one after the
 * other in 256 files, by their first byte, so that a tombstone costs 20 bytes and no start has to read them:
 *
 *   <data>/deleted/<first 2 digits>      ┌────────────────┬────────────────┐
 *                                        │ timeline id 16 │ CRC-32C u32le  │ …
 *                                        └────────────────┴────────────────┘
 *
 * An entry counts once it is whole. A last one that is not was cut short by a crash before anybody was told of it, and the
 * next one takes its place; any other is damage, and then nobody can say what was deleted: lookups in its file fail.
 */
import { closeSync, fdatasyncSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { crc32c } from '@coppice/bytes';
import { CoppiceError, failpoint } from '@coppice/service-kit';
import type { TimelineId } from '@coppice/vocabulary';
import { diskError, syncDirectorySync } from './disk';

const ID_BYTES = 16;
const ENTRY_BYTES = 20;

export class Tombstones {
  readonly #directory: string;

  constructor(data: string) {
    this.#directory = join(data, 'deleted');
    if (mkdirSync(this.#directory, { recursive: true, mode: 0o700 })) syncDirectorySync(data);
  }

  /** Whether the timeline was deleted. Throws `Corrupt` when its file is damaged. */
  has(timeline: TimelineId): boolean {
    const entries = this.#read(timeline.slice(0, 2));
    const id = Buffer.from(timeline, 'hex');
    for (let at = entries.indexOf(id); at >= 0; at = entries.indexOf(id, at + 1))
      if (at % ENTRY_BYTES === 0) return true;
    return false;
  }

  /** Leaves a tombstone, durable when it returns; of one that is there already nobody knows whether it was yet. */
  add(timeline: TimelineId): void {
    const shard = timeline.slice(0, 2);
    const entries = this.#read(shard);
    const isThere = this.has(timeline);
    const entry = Buffer.alloc(ENTRY_BYTES);
    entry.write(timeline, 'hex');
    entry.writeUInt32LE(crc32c(entry.subarray(0, ID_BYTES)), ID_BYTES);
    try {
      const path = join(this.#directory, shard);
      const fd = openSync(path, entries.length === 0 ? 'w' : 'r+', 0o600);
      try {
        for (let done = isThere ? ENTRY_BYTES : 0; done < ENTRY_BYTES; )
          done += writeSync(fd, entry, done, ENTRY_BYTES - done, entries.length + done);
        failpoint('safekeeper-tombstone-written');
        fdatasyncSync(fd);
      } finally {
        closeSync(fd);
      }
      if (entries.length === 0 || isThere) syncDirectorySync(this.#directory);
    } catch (error) {
      throw diskError(`cannot leave a tombstone for timeline ${timeline}`, error);
    }
  }

  /** The deleted timelines whose ids begin with these two digits, in order. */
  withPrefix(shard: string): TimelineId[] {
    const entries = this.#read(shard);
    const ids: TimelineId[] = [];
    for (let at = 0; at < entries.length; at += ENTRY_BYTES)
      ids.push(entries.toString('hex', at, at + ID_BYTES) as TimelineId);
    return ids.sort();
  }

  /** The whole entries of a file. */
  #read(shard: string): Buffer {
    const path = join(this.#directory, shard);
    let bytes: Buffer;
    try {
      bytes = readFileSync(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0);
      throw diskError(`cannot read ${path}`, error);
    }
    const last = bytes.length - (bytes.length % ENTRY_BYTES) - ENTRY_BYTES;
    for (let at = 0; at <= last; at += ENTRY_BYTES) {
      if (crc32c(bytes.subarray(at, at + ID_BYTES)) === bytes.readUInt32LE(at + ID_BYTES)) continue;
      if (at === last) return bytes.subarray(0, last);
      throw new CoppiceError('Corrupt', 'tombstones-damaged', `${path} is damaged at byte ${at}`, {
        remedy: 'Keep the file; have this safekeeper replaced by a change of members.',
      });
    }
    return bytes.subarray(0, Math.max(0, last + ENTRY_BYTES));
  }
}
