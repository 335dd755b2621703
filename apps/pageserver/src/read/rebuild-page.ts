import { applyValue } from '@coppice/postgres';
import { CoppiceError } from '@coppice/service-kit';
import { BLOCK_SIZE, formatLsn, formatPageKey, KeyKind, pageKeyFields, relationOfKey } from '@coppice/vocabulary';
import type { PageSearch } from './search-timeline';

/** A page as its newest version left it; undefined when it does not exist. Not to be changed: it may be shared. */
export function rebuildPage(search: PageSearch): Buffer | undefined {
  const { values, lsns, key } = search;
  const newest = values[0];
  const oldest = values.at(-1);
  if (newest === undefined || oldest === undefined) return search.base;
  if (newest.kind === 'image') {
    if (newest.bytes.length === 0) return undefined;
    if (newest.bytes.length === BLOCK_SIZE) return newest.bytes;
  }
  const page = Buffer.allocUnsafeSlow(BLOCK_SIZE);
  const base = search.base !== undefined && !(oldest.kind === 'image' || oldest.willInit) ? search.base : undefined;
  if (base) base.copy(page);
  else page.fill(0);
  const target = key.charCodeAt(0) === KeyKind.relationBlock ? { relation: relationOfKey(key), block: pageKeyFields(key).block } : undefined;
  for (let at = values.length - 1; at >= 0; at -= 1) {
    try {
      applyValue(page, values[at]!, lsns[at]!, target);
    } catch (error) {
      const where = `${formatPageKey(key)} at ${formatLsn(lsns[at]!)}`;
      throw new CoppiceError('Corrupt', 'page-not-rebuildable', `${where} cannot be rebuilt: ${(error as Error).message}`, {
        cause: error,
        remedy: 'Read the branch at an earlier position, and report this record.',
      });
    }
  }
  return page;
}
