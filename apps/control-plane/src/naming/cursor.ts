/** Cursors of lists: the sort key and id of the last row, opaque to clients. */
import { CoppiceError } from '@coppice/service-kit';
import type { PageAfter } from '@coppice/catalog';

/** Of numbers that are times or ids: what both the database and JavaScript can tell as either. */
const MAX_NUMBER = 2e14;

export function encodeCursor(after: PageAfter): string {
  return Buffer.from(JSON.stringify([after.key, after.id])).toString('base64url');
}

/** Reads a cursor whose sort key is a `kind`. Throws `Malformed` for anything that `encodeCursor` did not make. */
export function decodeCursor<K extends 'number' | 'string'>(
  text: string,
  kind: K,
): PageAfter<K extends 'number' ? number : string> | undefined {
  if (text === '') return undefined;
  try {
    const [key, id] = JSON.parse(Buffer.from(text, 'base64url').toString()) as [unknown, unknown];
    const inRange =
      typeof key === 'string' || (Number.isInteger(key) && Math.abs(key as number) <= MAX_NUMBER);
    if (typeof key === kind && inRange && typeof id === 'string' && !`${key}${id}`.includes('\0'))
      return { key, id } as never;
  } catch {
    // Reported below like every other cursor that is not ours.
  }
  throw new CoppiceError('Malformed', 'bad-cursor', 'the cursor is not one that this list gave out', {
    remedy: 'Start again without a cursor.',
  });
}
