/** Where a page starts: just after the row with this sort key and id. */
export interface PageAfter<K extends number | string = number | string> {
  readonly key: K;
  readonly id: string;
}

/** A pattern for `like` that finds `text` anywhere, taking its wildcards literally. */
export function likePattern(text: string): string {
  return `%${text.replace(/[\\%_]/g, (c) => `\\${c}`)}%`;
}
