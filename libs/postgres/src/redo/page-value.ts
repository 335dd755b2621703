/** What one version of a page is in the page store: a whole page, or a step from the version before it. */
export type PageValue =
  /** The whole page. */
  | { readonly kind: 'image'; readonly bytes: Buffer }
  /** A PostgreSQL WAL record, raw: header to last byte, page headers taken out (`WalRecord.bytes`). */
  | { readonly kind: 'wal'; readonly bytes: Buffer; readonly willInit: boolean }
  /** One of our own records: see small-records.ts. */
  | { readonly kind: 'small'; readonly bytes: Buffer; readonly willInit: boolean };

/** Whether rebuilding a page may start at this value: nothing older is needed. */
export function needsNoBase(value: PageValue): boolean {
  return value.kind === 'image' || value.willInit;
}
