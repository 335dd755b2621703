import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { Semaphore } from '@coppice/service-kit';
import {
  BLOCK_SIZE,
  BLOCKS_PER_SEGMENT,
  KeyKind,
  pageKeyFields,
  type PageKey,
  relationOfKey,
  SLRU_PAGES_PER_SEGMENT,
  type SlruNumber,
} from '@coppice/vocabulary';
import { relationFileName, slruFileName } from './tracked-names';

const FILES_AT_ONCE = 16;

export interface KeyedPage {
  readonly key: PageKey;
  readonly page: Uint8Array;
}

interface Placed {
  readonly block: number;
  readonly page: Uint8Array;
}

/**
 * Writes pages (the warm set) into the laid-out sparse files of a compute that has not started. Returns which blocks of
 * which files are present now, for `FileAtStart.present` of the state file.
 */
export async function installPages(
  dataDirectory: string,
  pages: Iterable<KeyedPage>,
): Promise<Map<string, number[]>> {
  const byFile = new Map<string, Placed[]>();
  for (const { key, page } of pages) {
    const { name, block } = placeOf(key);
    const placed = byFile.get(name);
    if (placed) placed.push({ block, page });
    else byFile.set(name, [{ block, page }]);
  }
  const files = new Semaphore(FILES_AT_ONCE, byFile.size);
  await Promise.all(
    [...byFile].map(([name, placed]) => files.run(() => writeBlocks(join(dataDirectory, name), placed))),
  );
  return new Map([...byFile].map(([name, placed]) => [name, placed.map((p) => p.block)]));
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

async function writeBlocks(path: string, placed: Placed[]): Promise<void> {
  // Without O_CREAT: a page of a file that was not laid out is a mistake to hear about.
  const file = await open(path, 'r+');
  try {
    for (const { block, page } of placed) await file.write(page, 0, BLOCK_SIZE, block * BLOCK_SIZE);
  } finally {
    await file.close();
  }
}
