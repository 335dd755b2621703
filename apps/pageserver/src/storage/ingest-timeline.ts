import type { PageValue } from '@coppice/postgres';
import type { LsnNumber, PageKey } from '@coppice/vocabulary';
import type { IngestTarget, RecordSpan } from '../ingest/ingest-target';
import type { TimelineReader } from '../read/timeline-reader';
import type { Timeline } from './timeline';

/** A timeline as ingest and image making see it. */
export class IngestTimeline implements IngestTarget {
  readonly #timeline: Timeline;
  readonly #reader: TimelineReader;
  readonly #signal: AbortSignal;

  constructor(timeline: Timeline, reader: TimelineReader, signal: AbortSignal) {
    this.#timeline = timeline;
    this.#reader = reader;
    this.#signal = signal;
  }

  put(key: PageKey, lsn: LsnNumber, value: PageValue): void {
    this.#timeline.put(key, lsn, value);
  }

  finishRecord(record: RecordSpan): void {
    this.#timeline.finishRecord(record);
  }

  resize(deltaBlocks: number): void {
    this.#timeline.resize(deltaBlocks);
  }

  room(): Promise<void> {
    return this.#timeline.room(this.#signal);
  }

  async read(key: PageKey, lsn: LsnNumber): Promise<Buffer | undefined> {
    return (await this.#reader.values(this.#timeline, [key], lsn, this.#signal))[0];
  }

  readAll(keys: readonly PageKey[], lsn: LsnNumber): Promise<(Buffer | undefined)[]> {
    return this.#reader.values(this.#timeline, keys, lsn, this.#signal);
  }

  scan(from: PageKey, to: PageKey, lsn: LsnNumber): AsyncIterable<readonly [PageKey, Buffer]> {
    return this.#reader.scan(this.#timeline, { from, to }, lsn, this.#signal);
  }

  async readPage(key: PageKey, lsn: LsnNumber): Promise<Buffer | undefined> {
    const page = (await this.#reader.pages(this.#timeline, [key], lsn, this.#signal))[0];
    return page && Buffer.from(page);
  }
}
