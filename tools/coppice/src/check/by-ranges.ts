/** Goes through several sorted lists at once, range by range, holding no more than a page of each. */
export type Pages<T> = AsyncIterator<readonly T[]>;

export interface SortedList<T> {
  /** Pages in ascending order of ids, none empty. */
  readonly pages: Pages<T>;
  readonly idOf: (item: T) => string;
}

interface Cursor<T> extends SortedList<T> {
  waiting: readonly T[];
  ended: boolean;
}

/** Yields, for one range of ids after the other, what each list has of it. Every item comes exactly once. */
export async function* byRanges<T extends readonly unknown[]>(lists: {
  readonly [K in keyof T]: SortedList<T[K]>;
}): AsyncGenerator<{ readonly [K in keyof T]: readonly T[K][] }> {
  const cursors: Cursor<unknown>[] = lists.map((list) => ({
    ...(list as SortedList<unknown>),
    waiting: [],
    ended: false,
  }));
  for (;;) {
    await Promise.all(cursors.map(refill));
    if (cursors.every((c) => c.waiting.length === 0)) return;
    // Up to here every list is known whole.
    const ends = cursors.flatMap((c) => (c.ended ? [] : [c.idOf(c.waiting.at(-1))]));
    const upTo = ends.length === 0 ? undefined : ends.reduce((a, b) => (a < b ? a : b));
    yield cursors.map((c) => take(c, upTo)) as { readonly [K in keyof T]: readonly T[K][] };
  }
}

async function refill(cursor: Cursor<unknown>): Promise<void> {
  if (cursor.ended || cursor.waiting.length > 0) return;
  const next = await cursor.pages.next();
  if (next.done || next.value.length === 0) cursor.ended = true;
  else cursor.waiting = next.value;
}

function take(cursor: Cursor<unknown>, upTo: string | undefined): readonly unknown[] {
  const beyond = upTo === undefined ? -1 : cursor.waiting.findIndex((item) => cursor.idOf(item) > upTo);
  const taken = beyond < 0 ? cursor.waiting : cursor.waiting.slice(0, beyond);
  cursor.waiting = beyond < 0 ? [] : cursor.waiting.slice(beyond);
  return taken;
}
