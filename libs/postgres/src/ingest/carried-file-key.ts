import { createHash } from 'node:crypto';
import { carriedFileKey } from '@coppice/vocabulary';
import type { PageKey } from '@coppice/vocabulary';

/** The key under which a carried file is kept: the first half of its path's SHA-256. */
export function carriedFileKeyOf(path: string): PageKey {
  return carriedFileKey(createHash('sha256').update(path, 'utf8').digest().readBigUInt64BE(0));
}
