import { rebuildPage } from '@coppice/postgres';
import type { PageValue } from '@coppice/postgres';
import { BLOCK_SIZE, KeyKind, pageKeyFields, relationOfKey } from '@coppice/vocabulary';
import type { LsnNumber, PageKey } from '@coppice/vocabulary';
import type { IngestTarget, RecordSpan } from '../ingest-target';

interface Version {
  readonly lsn: LsnNumber;
  readonly value: PageValue;
}

/** A store that keeps every version of every key: the plainest thing that ingest can fill. */
export class MemoryTarget implements IngestTarget {
  readonly versions = new Map<PageKey, Version[]>();
  finished: RecordSpan = { lsn: 0, endLsn: 0 };
  logicalBlocks = 0;
  puts = 0;
  reads = 0;

  put(key: PageKey, lsn: LsnNumber, value: PageValue): void {
    this.puts += 1;
    const versions = this.versions.get(key);
    const last = versions?.at(-1);
    if (last && last.lsn >= lsn) throw new Error(`two values of one key at ${lsn}`);
    if (versions) versions.push({ lsn, value });
    else this.versions.set(key, [{ lsn, value }]);
  }

  finishRecord(record: RecordSpan): void {
    this.finished = { lsn: record.lsn, endLsn: record.endLsn };
  }

  resize(deltaBlocks: number): void {
    this.logicalBlocks += deltaBlocks;
  }

  async room(): Promise<void> {}

  /** As `read`, at once. */
  peek(key: PageKey, lsn: LsnNumber): Buffer | undefined {
    const value = this.versions.get(key)?.findLast((version) => version.lsn <= lsn)?.value;
    if (!value || value.bytes.length === 0) return undefined;
    return value.bytes;
  }

  async read(key: PageKey, lsn: LsnNumber): Promise<Buffer | undefined> {
    this.reads += 1;
    return this.peek(key, lsn);
  }

  async readAll(keys: readonly PageKey[], lsn: LsnNumber): Promise<(Buffer | undefined)[]> {
    return Promise.all(keys.map((key) => this.read(key, lsn)));
  }

  async *scan(from: PageKey, to: PageKey, lsn: LsnNumber): AsyncIterable<readonly [PageKey, Buffer]> {
    const keys = [...this.versions.keys()].filter((key) => key >= from && key < to).sort();
    for (const key of keys) {
      const bytes = this.peek(key, lsn);
      if (bytes) yield [key, bytes];
    }
  }

  async readPage(key: PageKey, lsn: LsnNumber): Promise<Buffer | undefined> {
    return this.page(key, lsn);
  }

  /** As `readPage`, at once. */
  page(key: PageKey, lsn: LsnNumber): Buffer | undefined {
    const seen = (this.versions.get(key) ?? []).filter((version) => version.lsn <= lsn);
    const base = seen.findLastIndex(({ value }) => value.kind === 'image' || value.willInit);
    const last = seen.at(-1);
    if (!last || last.value.bytes.length === 0) return undefined;
    const fields = pageKeyFields(key);
    const target =
      fields.kind === KeyKind.relationBlock
        ? { relation: relationOfKey(key), block: fields.block }
        : undefined;
    const page = Buffer.alloc(BLOCK_SIZE);
    rebuildPage(page, seen.slice(Math.max(base, 0)), target);
    return page;
  }
}
