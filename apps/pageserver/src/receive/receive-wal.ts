import type { WalRecord } from '@coppice/postgres';
import { WalStreamDecoder } from '@coppice/postgres';
import { asCoppiceError, Counter, CoppiceError } from '@coppice/service-kit';
import { formatLsn, lsn as toLsn, toLsnNumber } from '@coppice/vocabulary';
import { TimelineIngest } from '../ingest/timeline-ingest';
import { breathe, Pace } from '../storage/breathe';
import type { IngestTimeline } from '../storage/ingest-timeline';
import { isTimelineDeleted } from '../storage/tombstones';
import type { Timeline } from '../storage/timeline';
import type { SafekeeperClient } from './safekeepers';

export interface ReceiveOptions {
  readonly timeline: Timeline;
  readonly target: IngestTimeline;
  readonly safekeeper: SafekeeperClient;
  /** Called after each chunk with the committed position that came with it. */
  readonly onProgress: (commitLsn: number) => void;
  readonly signal: AbortSignal;
}

const ingestedBytes = new Counter({ name: 'coppice_pageserver_ingested_wal_bytes_total', help: 'WAL applied to timelines.' });
const ingestedRecords = new Counter({ name: 'coppice_pageserver_ingested_records_total', help: 'WAL records applied to timelines.' });

/** Streams a timeline's committed WAL from one safekeeper into its store, until the stream or the signal ends. */
export async function receiveWal({ timeline, target, safekeeper, onProgress, signal }: ReceiveOptions): Promise<void> {
  timeline.abandonRecord();
  const from = timeline.finished.lsn;
  const ingest = await TimelineIngest.start(target, from);
  const decoder = new WalStreamDecoder(from, timeline.systemIdentifier > 0n ? { systemIdentifier: timeline.systemIdentifier } : {});
  const request = { timelineId: timeline.id, fromLsn: toLsn(from), uncommitted: false, term: 0 as never };
  for await (const chunk of asTroubleOfTheSafekeeper(safekeeper.readWal(request, { signal }), signal)) {
    if (chunk.wal.length > 0) {
      if (toLsnNumber(chunk.beginLsn) !== decoder.position) {
        throw new CoppiceError('Unavailable', 'wal-out-of-step', `safekeeper sent ${formatLsn(chunk.beginLsn)}, wanted ${formatLsn(decoder.position)}`);
      }
      await applyAll(ingest, recordsOf(decoder, chunk.wal), signal);
      ingestedBytes.inc(chunk.wal.length);
      await target.room();
    }
    onProgress(toLsnNumber(chunk.commitLsn));
  }
}

/** What goes wrong at the safekeeper says nothing of the WAL: another one has it too. */
async function* asTroubleOfTheSafekeeper<T>(chunks: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  try {
    yield* chunks;
  } catch (error) {
    if (signal.aborted || isTimelineDeleted(error)) throw error;
    throw new CoppiceError('Unavailable', 'safekeeper-fails', `the safekeeper gives no WAL: ${asCoppiceError(error).message}`, { cause: error });
  }
}

interface Decoded {
  readonly records: readonly WalRecord[];
  /** What the decoder threw behind the last record. */
  readonly damage: unknown;
}

function recordsOf(decoder: WalStreamDecoder, wal: Buffer): Decoded {
  const records: WalRecord[] = [];
  try {
    decoder.push(wal, (record) => records.push(record));
  } catch (damage) {
    return { records, damage };
  }
  return { records, damage: undefined };
}

async function applyAll(ingest: TimelineIngest, { records, damage }: Decoded, signal: AbortSignal): Promise<void> {
  const pace = new Pace();
  for (const record of records) {
    const pending = ingest.apply(record);
    if (pending) await pending;
    if (!pace.isDue(record.bytes.length)) continue;
    await breathe();
    signal.throwIfAborted();
  }
  ingestedRecords.inc(records.length);
  if (damage !== undefined) throw damage;
}
