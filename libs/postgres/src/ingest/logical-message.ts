/**
 * Logical messages. The compute agent carries what stock PostgreSQL does not write to WAL in messages whose prefix starts
 * `coppice:file:` and goes on with a path in the data directory; the content is the file's, none removes it. Format:
 * src/include/replication/message.h.
 *
 *   database u32 │ transactional u8 │ (3) │ prefix length u64 │ content length u64 │ prefix, closed by NUL │ content
 *
 * Any SQL user can write a message: a path that is not one of the few below is nobody's file and has no effect.
 */
import type { WalRecord } from '../wal/record';
import { NO_EFFECTS } from './effects';
import type { Effect } from './effects';
import { corruptRecord, readMainData } from './main-data';

/** What the prefix of a message that carries a file starts with. */
export const CARRIED_FILE_PREFIX = 'coppice:file:';

const CARRIED_PATHS = [
  /^pg_stat\/pgstat\.stat$/,
  /^pg_replslot\/[a-z0-9_]{1,63}\/state$/,
  /^pg_logical\/snapshots\/[0-9A-F]{1,8}-[0-9A-F]{1,8}\.snap$/,
  /^pg_logical\/mappings\/map-[0-9a-fA-F_-]{1,100}$/,
];

/** Whether a file may be carried from one compute to the next. */
export function isCarriedPath(path: string): boolean {
  return CARRIED_PATHS.some((pattern) => pattern.test(path));
}

export function logicalMessageEffects(record: WalRecord): readonly Effect[] {
  return readMainData(record, (reader) => {
    reader.skip(8);
    const prefixLength = reader.u64le();
    const contentLength = reader.u64le();
    if (prefixLength + contentLength !== BigInt(reader.remaining)) {
      throw corruptRecord(
        record,
        `message of ${prefixLength} and ${contentLength} bytes in ${reader.remaining}`,
      );
    }
    const prefix = reader.take(Number(prefixLength)).toString('utf8').replace(/\0$/, '');
    if (!prefix.startsWith(CARRIED_FILE_PREFIX)) return NO_EFFECTS;
    const path = prefix.slice(CARRIED_FILE_PREFIX.length);
    return isCarriedPath(path)
      ? [{ kind: 'put-file', path, content: reader.take(Number(contentLength)) }]
      : NO_EFFECTS;
  });
}
