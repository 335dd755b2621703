import {
  BLOCKS_PER_SEGMENT,
  KeyKind,
  pageKeyFields,
  type PageKey,
  relationOfKey,
  SLRU_PAGES_PER_SEGMENT,
  type SlruNumber,
} from '@coppice/vocabulary';
import type { PlacedPage } from '../prepare/write-layout';
import { relationFileName, slruFileName } from './tracked-names';

export interface KeyedPage {
  readonly key: PageKey;
  readonly page: Uint8Array;
}

/** The pages by the file that holds them. */
export function placedPages(pages: Iterable<KeyedPage>): Map<string, PlacedPage[]> {
  const byFile = new Map<string, PlacedPage[]>();
  for (const { key, page } of pages) {
    const { name, block } = placeOf(key);
    const placed = byFile.get(name);
    if (placed) placed.push({ block, page });
    else byFile.set(name, [{ block, page }]);
  }
  return byFile;
}

/** Name of the file that holds a relation block or SLRU page, and its place in it. */
export function placeOf(key: PageKey): { name: string; block: number } {
  const fields = pageKeyFields(key);
  if (fields.kind === KeyKind.slruPage) {
    const segment = Math.floor(fields.block / SLRU_PAGES_PER_SEGMENT);
    return {
      name: slruFileName(fields.tablespace as SlruNumber, segment),
      block: fields.block % SLRU_PAGES_PER_SEGMENT,
    };
  }
  const segment = Math.floor(fields.block / BLOCKS_PER_SEGMENT);
  return { name: relationFileName(relationOfKey(key), segment), block: fields.block % BLOCKS_PER_SEGMENT };
}
